package native

import (
	"slices"
	"strings"

	"github.com/abide-project/abide/internal/diag"
	"github.com/abide-project/abide/internal/format/tomltree"
)

// habits are words of other systems and what abide calls them. A value with a
// dot is a key below a table.
var habits = map[string]string{
	"execstart": "command", "cmd": "command", "exec": "command", "run": "command", "program": "command", "programarguments": "command", "start": "command", "entrypoint": "command", "script": "command",
	"execstop": "stop.command", "stopsignal": "stop.signal", "killsignal": "stop.signal", "kill_signal": "stop.signal", "stop_signal": "stop.signal", "timeoutstopsec": "stop.timeout", "stopwaitsecs": "stop.timeout", "stop_grace_period": "stop.timeout", "kill_timeout": "stop.timeout", "exittimeout": "stop.timeout", "killmode": "stop.to",
	"execreload": "reload.command", "reload_signal": "reload.signal",
	"execstartpre": "before_start", "execstartpost": "after_start", "execstoppost": "after_stop", "pre_start": "before_start", "prestart": "before_start",
	"timeoutstartsec": "ready.timeout", "start_timeout": "ready.timeout", "start-timeout": "ready.timeout", "notification-fd": "ready.fd", "notification_fd": "ready.fd", "readinessprobe": "ready", "livenessprobe": "health", "startupprobe": "ready", "watchdogsec": "health.watchdog", "watchdog": "health.watchdog",
	"onfailure": "on_failure.start", "runtimedirectory": "directories.run", "statedirectory": "directories.state", "cachedirectory": "directories.cache", "logsdirectory": "directories.logs", "configurationdirectory": "directories.config", "loadcredential": "credentials", "setcredential": "credentials", "secrets": "credentials",
	"conditionpathexists": "conditions.path_exists", "assertpathexists": "conditions.path_exists", "conditionpathexistsglob": "conditions.path_exists", "conditionhost": "conditions.host", "conditionkernelversion": "conditions.kernel", "conditionenvironment": "conditions.environment", "conditionuser": "conditions.user", "execcondition": "before_start", "condition": "conditions",
	"waits-for": "wants", "waits_for": "wants", "depends-on": "requires", "depends-ms": "wants", "upholds": "wants", "require": "requires", "want": "wants", "use": "wants", "conflict": "conflicts", "start_after": "after", "require_any": "any_of", "require_all": "requires", "members": "requires",
	"pre-start": "before_start", "post_start": "after_start", "poststart": "after_start", "post-start": "after_start", "pre_stop": "before_stop", "prestop": "before_stop", "pre-stop": "before_stop", "post_stop": "after_stop", "poststop": "after_stop", "post-stop": "after_stop", "finish": "after_stop", "instance": "instances",
	"depends_on": "requires", "depends": "requires", "dependencies": "requires", "need": "requires", "needs": "requires", "depend": "requires", "bindsto": "requires", "requisite": "requires", "partof": "part_of", "wantedby": "wanted_by", "requiredby": "required_by",
	"autostart": "enabled", "runatload": "enabled", "disabled": "enabled", "auto_start": "enabled", "startup": "enabled",
	"autorestart": "restart.when", "keepalive": "restart.when", "respawn": "restart.when", "restart_policy": "restart.when", "autorestart_policy": "restart.when",
	"restartsec": "restart.delay", "restart_delay": "restart.delay", "throttleinterval": "restart.delay", "startsecs": "restart.backoff.healthy", "startretries": "restart.limit.count", "startlimitburst": "restart.limit.count", "startlimitintervalsec": "restart.limit.window", "max_restarts": "restart.limit.count",
	"exitcodes": "restart.success_codes", "successexitstatus": "restart.success_codes", "restartpreventexitstatus": "restart.give_up_codes",
	"username": "user", "uid": "user", "setuid": "user", "run_as": "user", "groupname": "group", "gid": "group", "setgid": "group", "supplementarygroups": "groups", "initgroups": "groups",
	"workingdirectory": "directory", "working_directory": "directory", "working_dir": "directory", "workdir": "directory", "cwd": "directory", "chdir": "directory", "dir": "directory", "rootdirectory": "chroot",
	"env": "environment", "environ": "environment", "environmentvariables": "environment", "environmentfile": "environment_files", "env_file": "environment_files", "environment_file": "environment_files", "envfile": "environment_files",
	"stdout": "log.stdout", "stdout_logfile": "log.stdout", "standardoutpath": "log.stdout", "standardoutput": "log.stdout", "stderr": "log.stderr", "stderr_logfile": "log.stderr", "standarderrorpath": "log.stderr", "standarderror": "log.stderr", "logfile": "log.stdout", "standardinput": "stdin",
	"oomscoreadjust": "oom_score", "oom_score_adj": "oom_score", "niceness": "nice", "cpuaffinity": "cpus", "nonewprivileges": "no_new_privileges", "limitnofile": "rlimits.nofile", "limitnproc": "rlimits.nproc", "limitcore": "rlimits.core", "ulimits": "rlimits",
	"replicas": "scale", "numprocs": "scale", "type": "kind", "pidfile": "pid_file", "healthcheck": "health", "health_check": "health", "liveness": "health", "readiness": "ready", "timer": "on", "socket": "on", "sockets": "on", "schedule": "on", "cron": "on", "memory": "limits.memory", "memorymax": "limits.memory", "conditions_path": "conditions",
}

// tableHabits are words for the checks of [ready] and [health].
var tableHabits = map[string]string{
	"ready.command": "exec", "ready.cmd": "exec", "ready.test": "exec", "ready.script": "exec", "ready.port": "tcp", "ready.address": "tcp", "ready.url": "http", "ready.pattern": "log", "ready.regex": "log", "ready.path": "file", "ready.notification_fd": "fd", "ready.sd_notify": "notify", "ready.systemd": "notify",
	"health.command": "exec", "health.cmd": "exec", "health.test": "exec", "health.script": "exec", "health.port": "tcp", "health.address": "tcp", "health.url": "http", "health.retries": "failures", "health.threshold": "failures", "health.start_period": "grace", "health.initial_delay": "grace", "health.period": "interval", "health.watchdogsec": "watchdog",
	"directories.runtime": "run", "directories.runtimedirectory": "run", "directories.log": "logs", "directories.configuration": "config", "directories.lib": "state",
}

// valueHabits are values of other systems for restart.when and kind.
var valueHabits = map[string]string{
	"restart=always": "always", "restart=unless-stopped": "always", "restart=true": "always", "restart=on-success": "always", "restart=no": "never", "restart=never": "never", "restart=false": "never", "restart=on-failure": "on-failure", "restart=unexpected": "on-failure", "restart=on_failure": "on-failure", "restart=on-crash": "on-crash", "restart=on-abort": "on-crash", "restart=on-abnormal": "on-crash",
	"restart.when=unless-stopped": "always", "restart.when=true": "always", "restart.when=yes": "always", "restart.when=no": "never", "restart.when=false": "never", "restart.when=unexpected": "on-failure", "restart.when=on-abort": "on-crash", "restart.when=on-abnormal": "on-crash", "restart.when=failure": "on-failure", "restart.when=crash": "on-crash", "restart.when=on_failure": "on-failure", "restart.when=on_crash": "on-crash",
	"kind=oneshot": "task", "kind=once": "task", "kind=job": "task", "kind=simple": "daemon", "kind=service": "daemon", "kind=longrun": "daemon", "kind=process": "daemon", "kind=notify": "daemon", "kind=exec": "daemon", "kind=dbus": "daemon", "kind=idle": "daemon", "kind=scripted": "task", "kind=transient": "task", "kind=bgprocess": "forking", "kind=fork": "forking", "kind=internal": "target", "kind=bundle": "target", "kind=group": "target", "kind=set": "target",
	"health.action=none": "degraded", "health.action=kill": "restart", "health.action=ignore": "degraded", "health.action=degrade": "degraded",
	"until=running": "ready", "until=healthy": "ready", "until=service_healthy": "ready", "until=service_started": "started", "until=service_completed_successfully": "finished", "until=done": "finished", "until=completed": "finished",
}

// unknown says for a key that is none what was probably meant.
func (r *reader) unknown(prefix string, t *tomltree.Value, f *tomltree.Field) {
	message := "unknown key " + shown(f.Key)
	table := strings.TrimSuffix(prefix, ".")
	if word, ok := tableHabits[prefix+strings.ToLower(f.Key)]; ok {
		r.fail(f.Pos, "unknown-key", "abide calls it "+word, "%s in [%s]", message, table)
		return
	}
	switch {
	case prefix != "" && keyByPath[f.Key] != nil && t.Header:
		r.fail(f.Pos, "misplaced-key", "move it above the first [table]", "%s belongs above the first [table], line %d", f.Key, r.firstHeader(t, f.Pos.File))
		return
	case prefix != "" && keyByPath[f.Key] != nil:
		r.fail(f.Pos, "misplaced-key", "take it out of "+table, "%s does not belong in %s", f.Key, table)
		return
	case prefix == "" && (f.Key == "services" || f.Key == "defaults"):
		r.fail(f.Pos, "unknown-key", "only abide.toml holds several services; in NAME.toml the keys of the one service stand alone", "%s", message)
		return
	case f.Key == "name":
		r.fail(f.Pos, "unknown-key", "the name of a service is that of its file, or of its table in abide.toml", "%s", message)
		return
	}
	if path, ok := habits[strings.ToLower(f.Key)]; ok && path != prefix+f.Key {
		r.fail(f.Pos, "unknown-key", "abide calls it "+place(path), "%s", message)
		return
	}
	if homes := homesOf(f.Key); len(homes) > 0 {
		r.fail(f.Pos, "misplaced-key", "move it below "+enumerate(homes, "or"), "%s is a key of %s", f.Key, enumerate(homes, "and"))
		return
	}
	if near := diag.Nearest(f.Key, leaves[table]); near != "" {
		r.fail(f.Pos, "unknown-key", "did you mean "+near+"?", "%s", message)
		return
	}
	if near := diag.Nearest(f.Key, allPaths()); near != "" {
		r.fail(f.Pos, "unknown-key", "did you mean "+place(near)+"?", "%s", message)
		return
	}
	hint := "the keys are described in docs/definitions.md"
	if table != "" {
		hint = "[" + table + "] knows " + strings.Join(leaves[table], " ")
	}
	r.fail(f.Pos, "unknown-key", hint, "%s", message)
}

// shown is a key as a message quotes it.
func shown(key string) string {
	if len(key) > 60 {
		key = key[:60] + "..."
	}
	return keyOut(key)
}

// place names a key path as it is written: "command", "timeout in [stop]".
func place(path string) string {
	i := strings.LastIndexByte(path, '.')
	switch {
	case i >= 0:
		return path[i+1:] + " in [" + path[:i] + "]"
	case path == "on":
		return "[[on]]"
	case tables[path]:
		return "[" + path + "]"
	}
	return path
}

// homesOf lists the tables that know a key of that name, those that would refuse
// it only if there are no others.
func homesOf(leaf string) []string {
	var homes, refusing []string
	for table, names := range leaves {
		switch k := keyByPath[table+"."+leaf]; {
		case table == "" || !slices.Contains(names, leaf):
		case k != nil && k.Refused != "":
			refusing = append(refusing, "["+table+"]")
		default:
			homes = append(homes, "["+table+"]")
		}
	}
	if homes == nil {
		homes = refusing
	}
	slices.Sort(homes)
	return homes
}

func allPaths() []string {
	paths := make([]string, 0, len(keyByPath))
	for p := range keyByPath {
		if !strings.Contains(p, ".") {
			paths = append(paths, p)
		}
	}
	for t := range tables {
		paths = append(paths, t)
	}
	slices.Sort(paths)
	return paths
}

// firstHeader is the line of the service's first [table] in a file, which is
// where its plain keys must have ended.
func (r *reader) firstHeader(t *tomltree.Value, file string) int {
	line := t.Pos.Line
	for _, f := range r.root.Fields {
		if v := f.Value; v.Kind == tomltree.Table && v.Header && v.Pos.File == file && v.Pos.Line < line && r.isOwn(f.Key) {
			line = v.Pos.Line
		}
	}
	return line
}

// enumerate joins words as a sentence does.
func enumerate(words []string, last string) string {
	if n := len(words); n > 1 {
		return strings.Join(words[:n-1], ", ") + " " + last + " " + words[n-1]
	}
	return strings.Join(words, "")
}
