// Package state keeps what must outlive the engine: its run directory, the
// operators' wishes, what they laid over the definition files, the definitions that
// were in force, a snapshot of what each service is doing, and the history of
// events. It promises that a process killed, a machine switched off or a disk
// filled at any instruction leaves the old content or the new one, never an empty
// or a mixed file; and that a directory which another user could have prepared is
// refused. It decides nothing about services and starts no process.
package state
