package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/abide-project/abide/client"
	"github.com/abide-project/abide/internal/control"
)

// project is the instance of the project that -f or the working directory names,
// and what it is to read when that is not the project's own choice.
func (a *app) project() (instance, []string, error) {
	acct, err := ownAccount()
	if err != nil {
		return instance{}, nil, err
	}
	root, config, err := a.projectRoot()
	if err != nil {
		return instance{}, nil, err
	}
	i := projectInstance(acct, root)
	one, err := a.chosen()
	if err != nil {
		return instance{}, nil, err
	}
	if one != nil && one.scope == "" {
		i.run, i.state, i.log = one.run, filepath.Join(one.run, "state"), filepath.Join(one.run, "log")
	}
	return i, config, nil
}

func (a *app) projectRoot() (root string, config []string, err error) {
	if a.file != "" {
		path, err := filepath.Abs(a.file)
		if err == nil {
			path, err = filepath.EvalSymlinks(path)
		}
		if err != nil {
			return "", nil, failed("", "cannot use project %s: %v", a.file, cause(err))
		}
		info, err := os.Stat(path)
		switch {
		case err != nil:
			return "", nil, failed("", "cannot use project %s: %v", a.file, cause(err))
		case !info.IsDir():
			return filepath.Dir(path), []string{path}, nil
		case isProject(path):
			return path, nil, nil
		default:
			return path, []string{path}, nil
		}
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", nil, failed("", "cannot find the project: %v", cause(err))
	}
	root, ok := findProject(dir)
	if !ok {
		return "", nil, failed("name it with -f, or write a Procfile: one line NAME: COMMAND for each program",
			"cannot find a project: neither abide.toml nor abide/ nor Procfile is in %s or above", dir)
	}
	return root, nil, nil
}

func (a *app) up(names []string) error {
	a.own = exitOwnFailure
	i, config, err := a.project()
	if err != nil {
		return err
	}
	if pid, taken := a.taken(i); taken {
		return failed("abide status shows it, abide down stops it", "cannot run %s: it runs already, abide-keeper has pid %d", i, pid)
	}
	if err := prepareRun(i); err != nil {
		return err
	}
	a.prepareStores(i)
	if _, err := os.Stat(filepath.Join(i.root, ".env")); err == nil {
		fmt.Fprintf(a.stderr, "abide: reading %s\n", filepath.Join(i.root, ".env"))
	}
	l := launch{instance: i, mode: "up", config: config, names: names, exitOnFailure: a.exitOnFailure}
	if a.detach {
		return a.upDetached(l)
	}
	return a.upAttached(l)
}

// upAttached runs the keeper as a child that lives no longer than we do: it reads
// from a pipe whose other end only we hold, and which the kernel closes however
// we end.
func (a *app) upAttached(l launch) error {
	read, write, err := os.Pipe()
	if err != nil {
		return failed("", "cannot make the lease: %v", err)
	}
	defer write.Close()
	l.lease, l.console, l.color = true, true, colours(a.outFile)
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	keeper, err := command(l, a.outFile, a.errFile, read)
	if err != nil {
		return err
	}
	if err := keeper.Start(); err != nil {
		return failed("", "cannot start %s: %v", keeper.Path, cause(err))
	}
	read.Close()
	ended := make(chan error, 1)
	go func() { ended <- keeper.Wait() }()
	for {
		select {
		case <-signals:
			keeper.Process.Signal(syscall.SIGTERM) // a second one hurries
		case err := <-ended:
			return endOf(keeper, err)
		}
	}
}

// command is the keeper as a child in a session of its own, so that a Ctrl-C
// reaches it once, from us.
func command(l launch, out, errs *os.File, extra ...*os.File) (*exec.Cmd, error) {
	argv, err := l.argv()
	if err != nil {
		return nil, err
	}
	c := exec.Command(argv[0], argv[1:]...)
	c.Stdout, c.Stderr, c.ExtraFiles = out, errs, extra
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return c, nil
}

// endOf passes the keeper's end on.
func endOf(keeper *exec.Cmd, err error) error {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &exit):
		return failed("", "cannot wait for %s: %v", keeper.Path, err)
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return exitCode(128 + int(status.Signal()))
	}
	return exitCode(exit.ExitCode())
}

func (a *app) upDetached(l launch) error {
	path := filepath.Join(l.log, "abide.log")
	log, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return failed("", "cannot write %s: %v", path, cause(err))
	}
	defer log.Close()
	start, _ := log.Seek(0, io.SeekEnd)
	keeper, err := command(l, log, log)
	if err != nil {
		return err
	}
	if err := keeper.Start(); err != nil {
		return failed("", "cannot start %s: %v", keeper.Path, cause(err))
	}
	ended := make(chan error, 1)
	go func() { ended <- keeper.Wait() }()
	c, err := a.awaitSocket(l.run, ended)
	if err != nil {
		return sawLog(err, path, start)
	}
	defer c.Close()
	p := a.startProgress("waiting for the programs to start")
	list, err := settled(a.cmd.Context(), c)
	p.stop()
	if err != nil {
		return err
	}
	a.stdout.Write(table(list, time.Now(), colours(a.outFile), 0))
	if err := statusCode(list, false); err != nil {
		return exitCode(exitFailed)
	}
	return nil
}

// startLimit is how long a keeper may take until its socket answers.
const startLimit = 15 * time.Second

func (a *app) awaitSocket(run string, ended <-chan error) (*client.Client, error) {
	limit := time.After(startLimit)
	for pause := 2 * time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		c, err := client.Dial(run)
		if err == nil {
			return c, nil
		}
		select {
		case <-ended:
			return nil, failed("", "cannot start abide: it ended at once")
		case <-limit:
			return nil, failed("", "cannot start abide: no answer within %s: %v", startLimit, err)
		case <-time.After(pause):
		}
	}
}

// sawLog adds what the log says since start to err.
func sawLog(err error, path string, start int64) error {
	data, _ := os.ReadFile(path)
	if start > int64(len(data)) {
		start = 0
	}
	text := bytes.TrimSpace(data[start:])
	if len(text) > 2000 {
		text = text[len(text)-2000:]
	}
	if len(text) == 0 {
		return err
	}
	return failed("", "%v\n%s", err, text)
}

// settled returns the services when each that is wanted has started or failed.
// It looks again at every event, never by the clock.
func settled(ctx context.Context, c *client.Client) ([]client.Status, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	changed := make(chan struct{}, 1)
	broken := make(chan error, 1)
	go func() {
		broken <- c.Events(ctx, 0, true, func(client.Event) error {
			select {
			case changed <- struct{}{}:
			default:
			}
			return nil
		})
	}()
	for {
		list, err := c.Status(ctx)
		if err != nil {
			return nil, err
		}
		if allSettled(list) {
			return list, nil
		}
		select {
		case <-changed:
		case err := <-broken:
			if err == nil {
				err = &control.Error{Code: control.Failed, Message: "cannot wait for the programs: abide ended"}
			}
			return nil, err
		}
	}
}

func allSettled(list []client.Status) bool {
	for i := range list {
		s := &list[i]
		if !s.Wanted {
			continue
		}
		switch s.State {
		case "starting", "stopping":
			return false
		case "waiting":
			if s.LastExit == nil && s.Fault == "" {
				return false
			}
		}
	}
	return true
}

func (a *app) down([]string) error {
	i, _, err := a.project()
	if err != nil {
		return err
	}
	c, err := client.Dial(i.run)
	var e *control.Error
	if errors.As(err, &e) && e.Code == control.NoDaemon {
		if _, held := holder(i.run); !held {
			fmt.Fprintf(a.stdout, "%s does not run\n", i)
			return nil
		}
	}
	return a.end(c, i, err)
}
