// Package birth remembers the limit of open descriptors that this process was
// started with. Package syscall raises the soft limit in its own initialisation
// and keeps the old value to itself; abide needs it, because services get the
// limits that abide itself was given. The package imports nothing that depends on
// syscall, so that by the order of package initialisation (sorted by import path,
// dependencies first; see the language specification) its variables are set
// before the limit is raised.
package birth

// NofileSoft and NofileHard are RLIMIT_NOFILE as it was at the start.
var NofileSoft, NofileHard = nofile()
