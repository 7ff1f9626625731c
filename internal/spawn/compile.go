package spawn

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/abide-project/abide/internal/model"
	"github.com/abide-project/abide/internal/spawn/prog"
)

// Values of Linux's open(2), the same on every machine programs run on.
const (
	oRdonly = 0
	oWronly = 1
	oRdwr   = 2
	oNoctty = 0o400
)

// compiling is one compilation: the program so far, and what each op is about.
type compiling struct {
	c     *Compiler
	svc   *model.Service
	run   Run
	b     *prog.Builder
	p     *Program
	id    identity
	slots int
}

// compile emits the ops in this order. What needs privileges comes before the
// change of user: joining cgroups, OOM score, limits, priorities, opening
// terminals and pipes, chroot. The working directory is entered afterwards, as
// systemd does: on some file servers only the user may enter it. Descriptors are
// opened before chroot, with paths of the host.
func (c *Compiler) compile(svc *model.Service, run Run) (*Program, error) {
	id, err := c.identity(svc)
	if err != nil {
		return nil, err
	}
	names := c.names(svc, run.Number, id)
	env, err := c.environment(svc, run, id, names)
	if err != nil {
		return nil, err
	}
	k := &compiling{c: c, svc: svc, run: run, b: prog.NewBuilder(prog.NativeArch), id: id, p: &Program{Env: sorted(env)}}
	directory, err := k.directory(names)
	if err != nil {
		return nil, err
	}
	if err := k.command(withEnvironment(names, env)); err != nil {
		return nil, err
	}
	files, err := c.search(k.p.Argv[0], env["PATH"], svc.Chroot, directory)
	if err != nil {
		return nil, err
	}
	k.p.Slow = k.blocks(directory) || slices.ContainsFunc(files, func(f candidate) bool { return f.remote })

	k.begin()
	k.join()
	k.score()
	if err := k.rlimits(); err != nil {
		return nil, err
	}
	if err := k.priorities(); err != nil {
		return nil, err
	}
	k.call(note{what: fmt.Sprintf("set umask to %04o", svc.Umask)}, prog.Umask, prog.Int(svc.Umask))
	if err := k.stdio(); err != nil {
		return nil, err
	}
	k.ready()
	k.chroot()
	k.become()
	k.call(note{what: "change directory to " + directory, kind: aboutFolder, path: directory}, prog.Chdir, k.text(directory))
	k.execute(files)
	return k.finish()
}

func (k *compiling) finish() (*Program, error) {
	for _, list := range [][]string{k.p.Argv, k.p.Env, {k.svc.Chroot}} {
		for _, s := range list {
			if strings.ContainsRune(s, 0) {
				return nil, fmt.Errorf("cannot start %s: an argument, variable or path holds a NUL", k.svc.Name)
			}
		}
	}
	if k.p.Slow {
		k.b.SetFlags(prog.Slow)
	}
	k.b.SetSlots(k.slots)
	var err error
	if k.p.Bytes, err = k.b.Bytes(); err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", k.svc.Name, err)
	}
	k.p.Labels = make([]string, len(k.p.notes))
	for i, n := range k.p.notes {
		k.p.Labels[i] = n.what
	}
	return k.p, nil
}

// call adds an op with what is to be said of it.
func (k *compiling) call(n note, c prog.Call, args ...prog.Arg) int {
	n.chroot = k.svc.Chroot
	k.p.notes = append(k.p.notes, n)
	return k.b.Call(c, args...)
}

func (k *compiling) pseudo(what string, nr uint32) {
	k.p.notes = append(k.p.notes, note{what: what})
	k.b.Pseudo(nr)
}

func (k *compiling) text(s string) prog.Arg { return prog.At(k.b.Text(s)) }

// open adds an open and returns its index; its result goes to the next op.
func (k *compiling) open(n note, path string, flags int) {
	op := k.call(n, prog.Openat, prog.Int(prog.AtFDCWD), k.text(path), prog.Int(flags|prog.OCloexec), prog.Int(0))
	k.b.Keep(op, op+1, 0)
}

func (k *compiling) directory(names lookup) (string, error) {
	dir, err := model.Expand(k.svc.Directory, names)
	if err != nil {
		return "", fmt.Errorf("cannot use directory %s: %w", k.svc.Directory, err)
	}
	switch {
	case dir == "" && k.c.Directory != "":
		dir = k.c.Directory
	case dir == "":
		dir = "/"
	}
	if !filepath.IsAbs(dir) {
		return "", fmt.Errorf("cannot use directory %s: it is not an absolute path", dir)
	}
	if strings.ContainsRune(dir, 0) {
		return "", errors.New("cannot use directory: the path holds a NUL")
	}
	return dir, nil
}

func (k *compiling) command(names lookup) error {
	if k.svc.Shell {
		k.p.Argv = []string{"/bin/sh", "-c", k.svc.Script}
		return nil
	}
	if len(k.svc.Command) == 0 {
		return fmt.Errorf("cannot start %s: it has no command", k.svc.Name)
	}
	for _, word := range k.svc.Command {
		expanded, err := model.Expand(word, names)
		if err != nil {
			return fmt.Errorf("cannot use argument %s: %w", word, err)
		}
		k.p.Argv = append(k.p.Argv, expanded)
	}
	return nil
}

// blocks reports whether an op may wait for long: on a path of a mount that is
// not known local, or on a serial line without a carrier.
func (k *compiling) blocks(directory string) bool {
	paths := []string{filepath.Join("/", k.svc.Chroot, directory)}
	if k.svc.Chroot != "" {
		paths = append(paths, k.svc.Chroot)
	}
	if k.svc.Stdin == model.StdinTTY {
		paths = append(paths, k.svc.TTY)
		if !promptTerminal(k.svc.TTY) {
			return true
		}
	}
	for _, p := range paths {
		if !k.c.Mounts.Local(p) {
			return true
		}
	}
	return false
}

// promptTerminal reports whether opening a terminal returns at once: virtual
// consoles and pseudo-terminals have no carrier to wait for.
func promptTerminal(path string) bool {
	name, ok := strings.CutPrefix(path, "/dev/")
	if !ok {
		return false
	}
	if n, ok := strings.CutPrefix(name, "tty"); ok {
		_, err := strconv.Atoi(n)
		return err == nil
	}
	return strings.HasPrefix(name, "pts/")
}

func (k *compiling) begin() {
	if k.run.Record {
		k.pseudo("record the process", prog.OpRecord)
	}
	k.pseudo("reset signals", prog.OpDefSig)
	const setMask = 2
	k.call(note{what: "unblock signals"}, prog.Sigprocmask, prog.Int(setMask), prog.At(k.b.Block(make([]byte, 8))), prog.Int(0), prog.Int(8))
	k.call(note{what: "start a session"}, prog.Setsid)
}

// join enters cgroups: "0" means the process that writes.
func (k *compiling) join() {
	for _, path := range k.run.Joins {
		n := note{what: "join the cgroup " + filepath.Dir(path)}
		k.open(n, path, oWronly)
		k.call(n, prog.Write, prog.Int(0), k.text("0"), prog.Int(1))
	}
}

func (k *compiling) score() {
	score := k.svc.OOMScore
	if score == nil {
		score = k.c.OOMScore
	}
	if score == nil {
		return
	}
	text := strconv.Itoa(*score)
	n := note{what: "set oom_score to " + text, hint: "only root may lower it"}
	k.open(n, "/proc/self/oom_score_adj", oWronly)
	k.call(n, prog.Write, prog.Int(0), k.text(text), prog.Int(len(text)))
}

func (k *compiling) chroot() {
	if k.svc.Chroot == "" {
		return
	}
	n := note{what: "change root to " + k.svc.Chroot, hint: "only root may change it"}
	k.call(n, prog.Chroot, k.text(k.svc.Chroot))
	k.call(n, prog.Chdir, k.text("/"))
}

// become drops privileges: supplementary groups, group, user, in this order.
func (k *compiling) become() {
	id := k.id
	const onlyRoot = "only root may run a program as somebody else"
	if id.setGroups {
		list := make([]byte, 0, 4*len(id.groups))
		var shown []string
		for _, g := range id.groups {
			list = binary.LittleEndian.AppendUint32(list, uint32(g))
			shown = append(shown, strconv.Itoa(g))
		}
		what := "set groups to " + strings.Join(shown, " ")
		switch {
		case len(shown) == 0:
			what = "drop all groups"
		case !k.svc.GroupsSet:
			what = fmt.Sprintf("take the groups of user %s (%s)", id.user, strings.Join(shown, " "))
		}
		k.call(note{what: what, hint: onlyRoot}, prog.Setgroups, prog.Int(len(id.groups)), prog.At(k.b.Block(list)))
	}
	if id.gid != k.c.GID {
		what := fmt.Sprintf("change group to %d", id.gid)
		if id.group != "" && id.group != strconv.Itoa(id.gid) {
			what = fmt.Sprintf("change group to %s (gid %d)", id.group, id.gid)
		}
		gid := prog.Int(id.gid)
		k.call(note{what: what, hint: onlyRoot}, prog.Setresgid, gid, gid, gid)
	}
	if id.uid != k.c.UID {
		what := fmt.Sprintf("change user to %d", id.uid)
		if id.known {
			what = fmt.Sprintf("change user to %s (uid %d)", id.user, id.uid)
		}
		uid := prog.Int(id.uid)
		k.call(note{what: what, hint: onlyRoot}, prog.Setresuid, uid, uid, uid)
	}
	if k.svc.NoNewPrivileges {
		k.call(note{what: "set no_new_privileges"}, prog.Prctl, prog.Int(prog.PrctlNoNewPriv), prog.Int(1), prog.Int(0), prog.Int(0), prog.Int(0))
	}
}

// environment puts the variables into the data, and the child's own pid into those
// that are to hold it.
func (k *compiling) environment() prog.Offset {
	places, env := k.b.Places(k.p.Env)
	for i, v := range k.p.Env {
		if name, value, _ := strings.Cut(v, "="); value == ownPid && (name == "LISTEN_PID" || name == "WATCHDOG_PID") {
			k.p.notes = append(k.p.notes, note{what: "set " + name})
			k.b.Pseudo(prog.OpPid, prog.At(places[i]+prog.Offset(len(name)+1)))
		}
	}
	return env
}

// execute tries the files in order; the failure of the last one counts.
func (k *compiling) execute(files []candidate) {
	argv, env := prog.At(k.b.Texts(k.p.Argv)), prog.At(k.environment())
	for i, file := range files {
		n := note{what: "run " + file.path, kind: aboutProgram, path: file.path, remote: file.remote, user: k.id.user}
		for _, f := range files[:i] {
			n.tried = append(n.tried, f.path)
		}
		op := k.call(n, prog.Execve, k.text(file.path), argv, env)
		if i < len(files)-1 {
			k.b.Ignore(op)
		}
	}
}
