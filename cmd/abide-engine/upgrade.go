package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/engine"
	"github.com/abide-project/abide/internal/keeper/link"
	"github.com/abide-project/abide/internal/keeper/wire"
)

// upgrader is engine.Upgrader over the link.
type upgrader struct {
	link    *link.Link
	keeper  int // its pid
	build   string
	version uint32
}

func newUpgrader(l *link.Link, w link.Welcome) *upgrader {
	return &upgrader{link: l, keeper: w.KeeperPid, build: w.Build, version: w.Version}
}

func (u *upgrader) Build() string { return u.build }

// note says when the keeper is another version than this engine: files were
// replaced and one of the two was started again since.
func (u *upgrader) note(own string) string {
	switch {
	case u.version < wire.Version:
		return fmt.Sprintf("the keeper (pid %d) is of an older abide that cannot be upgraded in place", u.keeper)
	case u.build != own:
		return fmt.Sprintf("the keeper (pid %d) is abide %s, the engine %s; abide upgrade makes them one", u.keeper, u.build, own)
	}
	return ""
}

func (u *upgrader) Plan(dir string) (engine.UpgradePlan, error) {
	var plan engine.UpgradePlan
	if u.version < 2 {
		return plan, &control.Error{Code: control.Failed,
			Message: fmt.Sprintf("cannot upgrade: the keeper (pid %d) is older (version %d) and cannot be replaced in place", u.keeper, u.version),
			Hint:    fmt.Sprintf("unless it is process 1, kill -9 %d makes the engine start a new one; services run on", u.keeper)}
	}
	line, err := os.ReadFile("/proc/" + strconv.Itoa(u.keeper) + "/cmdline")
	if err != nil {
		return plan, fmt.Errorf("cannot read the keeper's command line: %w", err)
	}
	plan.Keeper, plan.Engine, plan.Exec = programsOf(strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00"))
	if dir != "" {
		plan.Keeper, plan.Engine, plan.Exec = filepath.Join(dir, "abide-keeper"), filepath.Join(dir, "abide-engine"), filepath.Join(dir, "abide-exec")
	}
	if plan.KeeperBuild, err = examine(plan.Keeper, "abide-keeper"); err != nil {
		return plan, err
	}
	if plan.EngineBuild, err = examine(plan.Engine, "abide-engine"); err != nil {
		return plan, err
	}
	if plan.Exec != "" {
		_, err = examine(plan.Exec, "abide-exec")
	}
	return plan, err
}

// programsOf finds the three program files in a keeper's command line.
func programsOf(argv []string) (keeper, engine, helper string) {
	keeper = argv[0]
	for i := 1; i+1 < len(argv); i += 2 {
		switch argv[i] {
		case "--exec":
			helper = argv[i+1]
		case "--":
			return keeper, argv[i+1], helper
		}
	}
	return keeper, "", helper
}

// examine makes sure that nobody but root and we could have written a program, and
// asks it for its version.
func examine(path, name string) (build string, err error) {
	if err = trusted(path); err == nil {
		build, err = versionOf(path, name)
	}
	if err != nil {
		err = &control.Error{Code: control.Failed, Message: fmt.Sprintf("cannot upgrade to %s: %v", path, err)}
	}
	return build, err
}

// versionOf runs a program with --version. It and all it starts get a few seconds.
func versionOf(path, name string) (string, error) {
	const patience = 5 * time.Second
	read, write, err := os.Pipe()
	if err != nil {
		return "", err
	}
	defer read.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		write.Close()
		return "", err
	}
	defer null.Close()
	p, err := os.StartProcess(path, []string{path, "--version"}, &os.ProcAttr{
		Files: []*os.File{null, write, null}, Sys: &syscall.SysProcAttr{Setpgid: true},
	})
	write.Close()
	if err != nil {
		return "", fmt.Errorf("it cannot be run: %w", bare(err))
	}
	_ = read.SetReadDeadline(time.Now().Add(patience))
	out, err := io.ReadAll(io.LimitReader(read, 4096))
	// Its group is there until it is reaped, so this can reach nobody else.
	_ = syscall.Kill(-p.Pid, syscall.SIGKILL)
	if _, waited := p.Wait(); waited != nil {
		return "", waited
	}
	first, _, _ := bytes.Cut(out, []byte{'\n'})
	build, ok := strings.CutPrefix(string(first), name+" ")
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "", fmt.Errorf("it does not say its version within %s", patience)
	case !ok || build == "":
		return "", fmt.Errorf("it is not %s: asked for its version it says %.60q", name, first)
	}
	return build, nil
}

// trusted says why a file could have been written by somebody else, or is no
// program.
func trusted(path string) error {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return bare(err)
	}
	info, err := os.Stat(real)
	switch {
	case err != nil:
		return bare(err)
	case !info.Mode().IsRegular():
		return errors.New("it is not a regular file")
	case info.Mode()&0o111 == 0:
		return errors.New("it is not executable")
	}
	for at := real; ; at = filepath.Dir(at) {
		if info, err = os.Stat(at); err != nil {
			return bare(err)
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok || st.Uid != 0 && int(st.Uid) != os.Geteuid() {
			return fmt.Errorf("%s belongs to neither root nor uid %d", at, os.Geteuid())
		}
		sticky := info.IsDir() && info.Mode()&fs.ModeSticky != 0
		if info.Mode().Perm()&0o022 != 0 && !sticky {
			return fmt.Errorf("others may write to %s (mode %04o)", at, info.Mode().Perm())
		}
		if at == filepath.Dir(at) {
			return nil
		}
	}
}

// bare strips the path, which the message names already.
func bare(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

func (u *upgrader) CarryOut(plan engine.UpgradePlan) error {
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("cannot hold on to the present engine: %w", err)
	}
	defer self.Close()
	up, err := u.link.Upgrade(plan.Keeper, plan.Engine, plan.Exec, int(self.Fd()))
	if errors.Is(err, link.ErrLost) {
		// The new keeper died at once. This engine is about to start the one before and
		// to end; the next one finds the upgrade on its page and tells of it.
		select {}
	}
	if err != nil {
		return err
	}
	if up.Result == wire.UpgradeDone {
		return nil
	}
	return upgradeError(up, plan.Keeper)
}

func (u *upgrader) InCharge() (found bool, err error) {
	if u.version < 2 {
		return false, nil
	}
	up, err := u.link.InCharge()
	switch {
	case err != nil:
		return true, err
	case up.Result == wire.UpgradeNone:
		return false, nil
	case up.Result == wire.UpgradeDone:
		return true, nil
	}
	return true, upgradeError(up, "")
}

// upgradeError puts into words why an upgrade came to nothing, and who runs now.
func upgradeError(up wire.Upgraded, keeper string) error {
	reason := func(text string, args ...any) error {
		return errors.New(fmt.Sprintf(text, args...) + "; nothing has changed")
	}
	cause := syscall.Errno(up.Errno)
	const back = "; the keeper is the new one, the engine the one before"
	switch up.Result {
	case wire.UpgradeBusy:
		return reason("another upgrade is under way")
	case wire.UpgradeEnding:
		return reason("abide is shutting down")
	case wire.UpgradeUnprepared:
		return reason("the keeper cannot hand over its state: %v", cause)
	case wire.UpgradeUnproven:
		return reason("%s did not prove itself: it ended %s", keeper, statusText(up.Status))
	case wire.UpgradeSlow:
		return reason("%s did not prove itself in time", keeper)
	case wire.UpgradeDiffers:
		return reason("%s did not prove itself: it reads other records than there are", keeper)
	case wire.UpgradeExec:
		return reason("%s cannot be executed: %v", keeper, cause)
	case wire.UpgradeResume:
		return reason("%s could not take over and went back: %v", keeper, cause)
	case wire.UpgradeEngineDied:
		return errors.New("the new engine died before it was in charge, the last time " + statusText(up.Status) + back)
	case wire.UpgradeEngineSilent:
		return errors.New("the new engine was not in charge in time" + back)
	case wire.UpgradeEngineExec:
		return fmt.Errorf("the new engine cannot be executed: %w%s", cause, back)
	}
	return fmt.Errorf("the keeper answers %d", up.Result)
}

func statusText(status uint32) string {
	w := syscall.WaitStatus(status)
	if w.Signaled() {
		return "by signal " + strconv.Itoa(int(w.Signal()))
	}
	return "with code " + strconv.Itoa(w.ExitStatus())
}
