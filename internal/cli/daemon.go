package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/abide-project/abide/internal/control"
)

// launch is what the keeper is started with.
type launch struct {
	instance
	mode          string // "daemon", "init", "up"
	lease         bool   // descriptor 3 is the lease
	config        []string
	console       bool
	color         bool
	names         []string
	exitOnFailure bool
	main          []string
}

// engineLease is the descriptor that the keeper hands the lease on as.
const engineLease = "6"

// argv is the keeper's command line, its path first.
func (l launch) argv() ([]string, error) {
	keeper, err := libexec("abide-keeper")
	if err != nil {
		return nil, err
	}
	engine, err := libexec("abide-engine")
	if err != nil {
		return nil, err
	}
	argv := []string{keeper, "--run", l.run, "--mode", l.mode}
	if helper, err := libexec("abide-exec"); err == nil {
		argv = append(argv, "--exec", helper)
	}
	if l.lease {
		argv = append(argv, "--lease-fd", "3")
	}
	argv = append(argv, "--", engine, "--run", l.run, "--state", l.state, "--log", l.log, "--mode", l.mode, "--scope", l.scope)
	if l.root != "" {
		argv = append(argv, "--root", l.root)
	}
	for _, path := range l.config {
		argv = append(argv, "--config", path)
	}
	for _, name := range l.names {
		argv = append(argv, "--name", name)
	}
	for _, flag := range []struct {
		given bool
		name  string
	}{{l.console, "--console"}, {l.color, "--color"}, {l.exitOnFailure, "--exit-on-failure"}} {
		if flag.given {
			argv = append(argv, flag.name)
		}
	}
	if l.lease {
		argv = append(argv, "--lease-fd", engineLease)
	}
	if len(l.main) > 0 {
		argv = append(append(argv, "--main", "--"), l.main...)
	}
	return argv, nil
}

// served is the instance that daemon and init are to be: the chosen one, else the
// system's for root and one's own for others.
func (a *app) served() (instance, error) {
	one, err := a.chosen()
	if err != nil {
		return instance{}, err
	}
	i := systemInstance()
	if os.Geteuid() != 0 || one != nil && one.scope == "user" {
		acct, err := ownAccount()
		if err != nil && one == nil {
			return instance{}, err
		}
		i = userInstance(acct)
	}
	if one != nil {
		if one.scope == "" && one.run != i.run {
			// Another run directory is another instance: it must not share state.
			one.scope, one.state, one.log = i.scope, filepath.Join(one.run, "state"), filepath.Join(one.run, "log")
			i = *one
		} else if one.scope != "" {
			i = *one
		}
	}
	for _, given := range []struct{ flag, path *string }{{&a.state, &i.state}, {&a.log, &i.log}} {
		if *given.flag == "" {
			continue
		}
		path, err := filepath.Abs(*given.flag)
		if err != nil {
			return instance{}, failed("", "cannot use folder %q: %v", *given.flag, err)
		}
		*given.path = path
	}
	return i, nil
}

func (a *app) configPaths() ([]string, error) {
	var list []string
	for _, path := range a.config {
		full, err := filepath.Abs(path)
		if err == nil {
			_, err = os.Stat(full)
		}
		if err != nil {
			return nil, failed("", "cannot use --config %s: %v", path, cause(err))
		}
		list = append(list, full)
	}
	return list, nil
}

func (a *app) daemon([]string) error {
	i, err := a.served()
	if err != nil {
		return err
	}
	config, err := a.configPaths()
	if err != nil {
		return err
	}
	if a.attach {
		if attached, err := a.attachTo(i); attached {
			return err
		}
	} else if pid, taken := a.taken(i); taken {
		return held1(i, pid)
	}
	if err := prepareRun(i); err != nil {
		return err
	}
	a.prepareStores(i)
	return a.become(launch{instance: i, mode: "daemon", config: config})
}

func held1(i instance, pid int) error {
	who := "an abide whose pid is not known"
	if pid > 0 {
		who = fmt.Sprintf("abide-keeper, pid %d", pid)
	}
	return &control.Error{Code: control.Failed, Message: fmt.Sprintf("cannot use run directory %s: held by %s", i.run, who),
		Hint: "abide status asks it, abide daemon --attach stays as its proxy, --run chooses another folder"}
}

func (a *app) prepareStores(i instance) {
	mode := os.FileMode(0o755)
	if i.scope != "system" {
		mode = 0o700
	}
	a.prepareStore("state", i.state, mode)
	a.prepareStore("log", i.log, mode)
}

// become turns this process into the keeper.
func (a *app) become(l launch) error {
	argv, err := l.argv()
	if err != nil {
		return err
	}
	err = syscall.Exec(argv[0], argv, os.Environ())
	return failed("", "cannot run %s: %v", argv[0], err)
}

func (a *app) init(command []string) error {
	if a.atDash < 0 && len(command) > 0 || a.atDash > 0 {
		return usage("abide init -- "+command[0], "cannot start: the command stands behind --")
	}
	if os.Getpid() != 1 && isTerminal(a.stdin) {
		return usage("abide up runs a project, abide new NAME -- COMMAND writes a definition",
			"cannot be init: this is a terminal and not the first process of a container")
	}
	a.own = exitOwnFailure
	config, err := a.configPaths()
	if err != nil {
		return err
	}
	i, err := a.served()
	if err != nil {
		return err
	}
	if pid, taken := a.taken(i); taken {
		return held1(i, pid)
	}
	if err := prepareRun(i); err != nil {
		return err
	}
	a.prepareStores(i)
	return a.become(launch{instance: i, mode: "init", config: config, console: true, color: colours(a.outFile), main: command})
}

func (a *app) shutdown([]string) error {
	return a.end(a.connect())
}
