//go:build linux

package chaos

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// play is one service. What it does it notes itself, with single writes to files
// of its own, so that abide need not be believed: PART FOLDER [ARGUMENT].
func play(words []string) int {
	if words[0] == "init" {
		return playInit()
	}
	me := part{name: os.Getenv("ABIDE_NAME"), run: os.Getenv("ABIDE_RUN_NUMBER"), dir: words[1]}
	if hook := os.Getenv("ABIDE_HOOK"); hook != "" {
		return me.hook(hook)
	}
	if parts[words[0]] != nil {
		return parts[words[0]](&me, words[2:])
	}
	switch words[0] {
	case "leftover":
		// A child that its parent left behind: it has the parent's lock.
		time.Sleep(time.Hour)
		return 0
	case "writer":
		me.begin()
		return me.write()
	case "crasher":
		me.begin()
		return me.crash()
	case "forker":
		me.begin()
		return me.fork()
	case "slow":
		me.begin()
		return me.slow()
	case "task":
		me.begin()
		return me.task()
	default:
		fmt.Fprintf(os.Stderr, "no part is called %q\n", words[0])
		return 2
	}
}

// part is a service that plays.
type part struct {
	name, run, dir string
	lock           *os.File
}

// note adds a line to a file that only grows.
func note(path, format string, arguments ...any) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_CLOEXEC, 0o644)
	if err == nil {
		_, err = fmt.Fprintf(f, format+"\n", arguments...)
		f.Close()
	}
	if err != nil {
		os.Exit(99)
	}
}

func (p *part) file(kind string) string { return filepath.Join(p.dir, kind+"."+p.name) }

// begin notes the start, and whether another run of the same service lives.
func (p *part) begin() {
	lock, err := os.OpenFile(p.file("lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err == nil {
		err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	if err != nil {
		note(filepath.Join(p.dir, "copies"), "run %s of %s, pid %d, began beside another: %v", p.run, p.name, os.Getpid(), err)
	}
	p.lock = lock
	p.started()
}

// started notes the start, and when the kernel made the process.
func (p *part) started() {
	note(p.file("starts"), "%s %d %d %d", p.run, os.Getpid(), time.Now().UnixNano(), born())
}

// end notes how the run will end, a moment before it does.
func (p *part) end(how string) { note(p.file("ends"), "%s %s %d", p.run, how, time.Now().UnixNano()) }

// line is the text of line n: whoever reads it can tell each wrong byte.
func line(n uint64) string {
	return fmt.Sprintf("n %d %s\n", n, strings.Repeat(string('a'+rune(n%26)), int(n*7919%97)))
}

// write writes numbered lines in pieces of any size until it is told to stop,
// then notes how many there were.
func (p *part) write() int {
	signal.Ignore(syscall.SIGPIPE)
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	r := rand.New(rand.NewPCG(uint64(os.Getpid()), 1))
	var n uint64
	var rest []byte
	for burst := 0; ; burst++ {
		for len(rest) < 16<<10 {
			n++
			rest = append(rest, line(n)...)
		}
		select {
		case <-stop:
			put(rest)
			note(p.file("written"), "%d", n)
			return 0
		default:
		}
		for len(rest) > 4<<10 {
			size := min(len(rest), 1+r.IntN(6<<10))
			put(rest[:size])
			rest = rest[size:]
		}
		// At full speed for a while, then not at all for longer: a disk is finite.
		if burst%8 == 7 {
			time.Sleep(time.Duration(r.IntN(150)) * time.Millisecond)
		}
	}
}

// put writes all of data to standard output. A pipe that nobody reads for the
// moment, as programs with pipe = "write" see it when all of abide is dead, takes
// nothing: the same bytes are written again.
func put(data []byte) {
	for len(data) > 0 {
		n, err := syscall.Write(1, data)
		switch {
		case n > 0:
			data = data[n:]
		case errors.Is(err, syscall.EPIPE):
			time.Sleep(time.Millisecond)
		case err != nil && !errors.Is(err, syscall.EINTR) && !errors.Is(err, syscall.EAGAIN):
			os.Exit(98)
		}
	}
}

// ways are the ends that a crasher chooses from: exit codes and signals.
var ways = []string{"0", "1", "7", "255", "KILL", "SEGV", "ABRT", "TERM"}

func (p *part) crash() int {
	r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), uint64(os.Getpid())))
	fmt.Printf("run %s speaks\n", p.run)
	time.Sleep(time.Duration(1+r.IntN(60)) * time.Millisecond)
	how := ways[r.IntN(len(ways))]
	fmt.Printf("run %s ends", p.run)
	p.end(how)
	return p.die(how)
}

// die ends this program with a code or by a signal.
func (p *part) die(how string) int {
	if code, err := strconv.Atoi(how); err == nil {
		return code
	}
	signo := unix.SignalNum("SIG" + how)
	signal.Reset(signo)
	// The runtime answers some of these itself, in its own way.
	unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	setDefault(signo)
	syscall.Kill(os.Getpid(), signo)
	time.Sleep(time.Minute)
	return 97
}

// fork leaves children in sessions of their own, which hold the lock, and ends.
func (p *part) fork() int {
	r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), uint64(os.Getpid())))
	self, err := os.Executable()
	if err != nil {
		return 96
	}
	for range 1 + r.IntN(3) {
		child := exec.Command(self)
		child.Env = append(os.Environ(), partVariable+"=leftover "+p.dir)
		child.ExtraFiles = []*os.File{p.lock}
		child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := child.Start(); err != nil {
			return 95
		}
	}
	time.Sleep(time.Duration(1+r.IntN(300)) * time.Millisecond)
	p.end("3")
	return 3
}

// slow takes its time to stop.
func (p *part) slow() int {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	<-stop
	time.Sleep(150 * time.Millisecond)
	p.end("0")
	return 0
}

func (p *part) task() int {
	time.Sleep(20 * time.Millisecond)
	p.end("0")
	return 0
}
