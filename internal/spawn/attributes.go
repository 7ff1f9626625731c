package spawn

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/abide-project/abide/internal/model"
	"github.com/abide-project/abide/internal/spawn/prog"
)

// resources are the numbers of setrlimit(2) on amd64 and arm64, by name.
var resources = map[string]int{
	"cpu": 0, "fsize": 1, "data": 2, "stack": 3, "core": 4, "rss": 5, "nproc": 6, "nofile": 7,
	"memlock": 8, "as": 9, "locks": 10, "sigpending": 11, "msgqueue": 12, "nice": 13, "rtprio": 14, "rttime": 15,
}

// rlimits sets what the definition asks for, and puts back the limit of
// descriptors, which the keeper raises for itself.
func (k *compiling) rlimits() error {
	nofile := false
	for _, l := range k.svc.Rlimits {
		nofile = nofile || l.Name == "nofile"
		if err := k.rlimit(l); err != nil {
			return err
		}
	}
	if !nofile && k.c.Nofile != nil {
		l := *k.c.Nofile
		l.Name = "nofile"
		return k.rlimit(l)
	}
	return nil
}

func (k *compiling) rlimit(l model.Rlimit) error {
	resource, ok := resources[l.Name]
	if !ok {
		return fmt.Errorf("cannot set limit %s: there is no such resource limit", l.Name)
	}
	pair := binary.LittleEndian.AppendUint64(nil, l.Soft)
	pair = binary.LittleEndian.AppendUint64(pair, l.Hard)
	n := note{
		what: fmt.Sprintf("set RLIMIT_%s to %s", strings.ToUpper(l.Name), limitText(l)),
		hint: "only root may raise a hard limit",
	}
	if l.Soft > l.Hard {
		n.wrong = "the soft limit is above the hard one"
	}
	if l.Name == "nofile" {
		n.hint += "; nobody may raise this one above fs.nr_open"
	}
	k.call(n, prog.Prlimit, prog.Int(0), prog.Int(resource), prog.At(k.b.Block(pair)), prog.Int(0))
	return nil
}

func limitText(l model.Rlimit) string {
	return limitNumber(l.Soft) + ":" + limitNumber(l.Hard)
}

func limitNumber(n uint64) string {
	if n == model.Unlimited {
		return "unlimited"
	}
	return strconv.FormatUint(n, 10)
}

// policies are those of sched_setscheduler(2); classes those of ioprio_set(2).
var (
	policies = map[string]int{"other": 0, "fifo": 1, "rr": 2, "batch": 3, "idle": 5}
	classes  = map[string]int{"realtime": 1, "best-effort": 2, "idle": 3}
)

const maxCPU = 8191

func (k *compiling) priorities() error {
	if n := k.svc.Nice; n != nil {
		k.call(note{what: fmt.Sprintf("set nice to %d", *n), hint: "only root may raise a priority"},
			prog.Setpriority, prog.Int(0), prog.Int(0), prog.Int(*n))
	}
	if s := k.svc.Scheduler; s != nil {
		policy, ok := policies[s.Policy]
		if !ok {
			return fmt.Errorf("cannot use scheduler %q: there is no such policy", s.Policy)
		}
		param := binary.LittleEndian.AppendUint32(nil, uint32(s.Priority))
		k.call(note{what: fmt.Sprintf("set scheduler to %s with priority %d", s.Policy, s.Priority), hint: "only root may use fifo and rr"},
			prog.SchedSetscheduler, prog.Int(0), prog.Int(policy), prog.At(k.b.Block(param)))
	}
	if p := k.svc.IOPriority; p != nil {
		class, ok := classes[p.Class]
		if !ok {
			return fmt.Errorf("cannot use io_priority %q: there is no such class", p.Class)
		}
		k.call(note{what: fmt.Sprintf("set io_priority to %s, level %d", p.Class, p.Level), hint: "only root may use realtime"},
			prog.IoprioSet, prog.Int(prog.IoprioProcess), prog.Int(0), prog.Int(class<<13|p.Level))
	}
	return k.affinity()
}

func (k *compiling) affinity() error {
	if len(k.svc.CPUs) == 0 {
		return nil
	}
	var shown []string
	mask := make([]byte, 8)
	for _, cpu := range k.svc.CPUs {
		if cpu < 0 || cpu > maxCPU {
			return fmt.Errorf("cannot use cpu %d: the number is not between 0 and %d", cpu, maxCPU)
		}
		for cpu/8 >= len(mask) {
			mask = append(mask, make([]byte, 8)...)
		}
		mask[cpu/8] |= 1 << (cpu % 8)
		shown = append(shown, strconv.Itoa(cpu))
	}
	k.call(note{what: "set cpus to " + strings.Join(shown, ","), wrong: "none of these processors exists or may be used here"},
		prog.SchedSetaffinity, prog.Int(0), prog.Int(len(mask)), prog.At(k.b.Block(mask)))
	return nil
}

// stdio sets descriptors 0, 1 and 2. What is opened on the way closes at exec.
func (k *compiling) stdio() error {
	switch {
	case k.run.Stdin != "":
		k.direct("stdin", 0, k.run.Stdin, oRdonly|oNoctty)
	case k.svc.Stdin == model.StdinOpen:
		if err := k.silence(); err != nil {
			return err
		}
	case k.svc.Stdin == model.StdinTTY:
		k.terminal()
	default:
		k.direct("stdin", 0, "/dev/null", oRdonly)
	}
	out, err := k.run.Stdout, k.run.Stderr
	k.output("stdout", 1, out)
	if err == out && out.Kind != StdioInherit {
		k.call(note{what: "send stderr where stdout goes"}, prog.Dup3, prog.Int(1), prog.Int(2), prog.Int(0))
	} else {
		k.output("stderr", 2, err)
	}
	own := k.slots
	k.slots += len(k.run.Stored)
	if k.slots > prog.MaxSlots {
		return fmt.Errorf("cannot hand over %d descriptors: at most %d", k.slots, prog.MaxSlots)
	}
	if own > 0 && k.slots > own {
		return errors.New("cannot hand over stored descriptors beside those for output")
	}
	for i := range own {
		k.call(note{what: "close a descriptor"}, prog.Close, prog.Int(prog.FirstSlot+i))
	}
	for i, name := range k.run.Stored {
		// They come with close-on-exec.
		k.call(note{what: "hand over the stored descriptor " + name}, prog.Fcntl, prog.Int(prog.FirstSlot+i), prog.Int(prog.FSetFD), prog.Int(0))
	}
	return nil
}

// ready gives the program the pipe on which it says that it is ready. The number
// that open returns may be the very one that is asked for, which dup3 refuses: of two
// descriptors one has another number. The program can read it as well, so that to
// write there is no mistake while nothing of abide lives.
func (k *compiling) ready() {
	if k.run.Ready == "" {
		return
	}
	fd := k.svc.Ready.FD
	n := note{
		what: fmt.Sprintf("open the pipe for readiness as descriptor %d", fd),
		hint: "the number must be below the limit nofile",
	}
	for i := range 2 {
		k.open(n, k.run.Ready, oRdwr)
		op := k.call(n, prog.Dup3, prog.Int(0), prog.Int(fd), prog.Int(0))
		if i == 0 {
			k.b.Ignore(op)
		}
	}
}

func (k *compiling) direct(name string, fd int, path string, flags int) {
	n := note{what: fmt.Sprintf("open %s for %s", path, name)}
	k.open(n, path, flags)
	k.call(n, prog.Dup3, prog.Int(0), prog.Int(fd), prog.Int(0))
}

func (k *compiling) output(name string, fd int, to Stdio) {
	switch to.Kind {
	case StdioNull:
		k.direct(name, fd, "/dev/null", oWronly)
	case StdioSlot:
		k.slots = max(k.slots, to.Slot+1)
		k.call(note{what: "take the descriptor handed over for " + name}, prog.Dup3, prog.Int(prog.FirstSlot+to.Slot), prog.Int(fd), prog.Int(0))
	case StdioPath:
		if to.Flags == oWronly {
			// Opening a FIFO for writing waits for a reader: be one for a moment.
			n := note{what: fmt.Sprintf("open %s for %s", to.Path, name)}
			k.call(n, prog.Openat, prog.Int(prog.AtFDCWD), k.text(to.Path), prog.Int(oRdwr|oNoctty|prog.OCloexec), prog.Int(0))
		}
		k.direct(name, fd, to.Path, to.Flags|oNoctty)
	}
}

// silence gives a stdin that never delivers: a FIFO without a name, of which the
// service itself is the only writer.
func (k *compiling) silence() error {
	if k.run.Scratch == "" {
		return errors.New("cannot use stdin = \"open\": there is no folder for its pipe")
	}
	path := filepath.Join(k.run.Scratch, strconv.FormatUint(k.run.Number, 10)+".in")
	n := note{what: "make a pipe for stdin at " + path}
	k.b.Ignore(k.call(n, prog.Unlinkat, prog.Int(prog.AtFDCWD), k.text(path), prog.Int(0)))
	k.call(n, prog.Mknodat, prog.Int(prog.AtFDCWD), k.text(path), prog.Int(prog.PrivateFIFO), prog.Int(0))
	k.direct("stdin", 0, path, oRdwr)
	k.call(n, prog.Unlinkat, prog.Int(prog.AtFDCWD), k.text(path), prog.Int(0))
	return nil
}

// terminal makes TTY stdin and the controlling terminal of the new session. Root
// may take it from another session, as an init does.
func (k *compiling) terminal() {
	tty := k.svc.TTY
	k.direct("stdin", 0, tty, oRdwr|oNoctty)
	n := note{what: "make " + tty + " the controlling terminal", hint: "another session has this terminal"}
	steal := 0
	if k.c.UID == 0 {
		steal = 1
	}
	k.call(n, prog.Ioctl, prog.Int(0), prog.Int(prog.TIOCSCTTY), prog.Int(steal))
}
