package spawn

import (
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/abide-project/abide/internal/model"
)

// notInherited are variables that tell a process about itself and would lie to
// its children.
var notInherited = []string{
	"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES",
	"INVOCATION_ID", "JOURNAL_STREAM", "SYSTEMD_EXEC_PID", "PWD", "OLDPWD", "SHLVL", "_",
}

// environment builds the variables of one start. What comes later wins: abide's
// own where the definition inherits them, the language, PATH, those of the
// account, the definition's table, its files in order (as systemd has it), and
// what abide says about the run.
func (c *Compiler) environment(svc *model.Service, run Run, id identity, names lookup) (map[string]string, error) {
	env := map[string]string{}
	for _, text := range c.Environ {
		name, value, ok := strings.Cut(text, "=")
		if ok && name != "" && (isLanguage(name) || inherits(svc, name)) && !slices.Contains(notInherited, name) {
			env[name] = value
		}
	}
	switch {
	case svc.Path != nil:
		env["PATH"] = strings.Join(svc.Path, ":")
	case env["PATH"] == "":
		env["PATH"] = strings.Join(model.DefaultPath, ":")
	}
	setAccount(env, id)
	for _, v := range svc.Environment {
		value, err := model.Expand(v.Value, names)
		if err != nil {
			return nil, fmt.Errorf("cannot set variable %s: %w", v.Name, err)
		}
		env[v.Name] = value
	}
	for _, f := range svc.EnvironmentFiles {
		file, err := model.Expand(f.Path, names)
		if err != nil {
			return nil, fmt.Errorf("cannot read environment file %s: %w", f.Path, err)
		}
		if err := readEnvFile(file, f.Optional, c.UID == 0, env); err != nil {
			return nil, err
		}
	}
	c.setDirectories(env, svc)
	if dir := c.CredentialsDir(svc, run.Number); dir != "" {
		env["CREDENTIALS_DIRECTORY"] = dir
	}
	env["ABIDE_NAME"] = svc.Name
	env["ABIDE_INSTANCE"] = svc.Instance
	env["ABIDE_RUN_NUMBER"] = strconv.FormatUint(run.Number, 10)
	env["ABIDE_RUN_ID"] = run.ID
	for _, v := range run.Environment {
		env[v.Name] = v.Value
	}
	announce(env, run)
	return env, nil
}

// ownPid is the place of a pid that is not known yet: the child writes its own there.
// It has as many bytes as prog.OpPid may write, the NUL behind it counted.
const ownPid = "00000000000"

// announce sets what sd_notify(3), sd_watchdog_enabled(3) and
// sd_listen_fds_with_names(3) look at.
func announce(env map[string]string, run Run) {
	if run.Notify != "" {
		env["NOTIFY_SOCKET"] = run.Notify
	}
	if run.Watchdog > 0 {
		env["WATCHDOG_USEC"] = strconv.FormatInt(run.Watchdog.Microseconds(), 10)
		env["WATCHDOG_PID"] = ownPid
	}
	if len(run.Stored) > 0 {
		env["LISTEN_FDS"] = strconv.Itoa(len(run.Stored))
		env["LISTEN_FDNAMES"] = strings.Join(run.Stored, ":")
		env["LISTEN_PID"] = ownPid
	}
}

// setAccount sets what login(1) would. A number without an account has a home
// folder all the same: many programs fail without HOME.
func setAccount(env map[string]string, id identity) {
	if !id.known {
		env["HOME"] = "/"
		for _, name := range []string{"USER", "LOGNAME", "SHELL"} {
			delete(env, name)
		}
		return
	}
	env["HOME"], env["USER"], env["LOGNAME"] = home(id), id.account.Name, id.account.Name
	env["SHELL"] = id.account.Shell
	if id.account.Shell == "" {
		env["SHELL"] = "/bin/sh"
	}
}

func home(id identity) string {
	if id.account.Home == "" {
		return "/"
	}
	return id.account.Home
}

func isLanguage(name string) bool {
	return name == "LANG" || name == "TZ" || strings.HasPrefix(name, "LC_")
}

func inherits(svc *model.Service, name string) bool {
	if svc.Inherit.All {
		return true
	}
	return slices.ContainsFunc(svc.Inherit.Globs, func(glob string) bool {
		ok, err := path.Match(glob, name)
		return err == nil && ok
	})
}

func sorted(env map[string]string) []string {
	list := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		list = append(list, name+"="+env[name])
	}
	return list
}

// lookup finds the value of a ${NAME}.
type lookup = func(name string) (string, bool)

// names are the variables that a definition may use anywhere (FORMAT.md, ${NAME}).
func (c *Compiler) names(svc *model.Service, run uint64, id identity) lookup {
	below := func(base string) (string, bool) { return filepath.Join(base, directoryName(svc)), base != "" }
	return func(name string) (string, bool) {
		switch name {
		case "name":
			return svc.Name, true
		case "instance":
			return svc.Instance, svc.Instance != ""
		case "run_dir":
			return below(c.Bases.Run)
		case "state_dir":
			return below(c.Bases.State)
		case "cache_dir":
			return below(c.Bases.Cache)
		case "log_dir":
			if svc.Directories.Logs != 0 {
				return below(c.Bases.Logs)
			}
			return filepath.Join(c.Bases.Log, svc.Name), c.Bases.Log != ""
		case "credentials_dir":
			dir := c.CredentialsDir(svc, run)
			return dir, dir != ""
		case "definition_dir":
			if len(svc.Files) > 0 {
				return filepath.Dir(svc.Files[0]), true
			}
		case "home":
			return home(id), true
		case "uid":
			return strconv.Itoa(id.uid), true
		case "host":
			return c.Host, c.Host != ""
		}
		return "", false
	}
}

// withEnvironment adds the service's own variables, for commands.
func withEnvironment(names lookup, env map[string]string) lookup {
	return func(name string) (string, bool) {
		if slices.Contains(model.Builtins, name) {
			return names(name)
		}
		value, ok := env[name]
		return value, ok
	}
}
