//go:build linux

package chaos

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// parts are those of services that depend on each other. Each notes when it is
// ready before it says so, and when it is told to end before it does.
var parts = map[string]func(p *part, words []string) int{
	"lead":   (*part).lead,
	"stay":   (*part).stay,
	"brief":  (*part).brief,
	"beside": (*part).beside,
	"faulty": (*part).faulty,
}

// born is when the kernel made this process, by the wall clock in nanoseconds, at
// most a hundredth of a second too early: field 22 of proc_pid_stat(5).
func born() int64 {
	const tick = int64(time.Second / 100)
	text, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		os.Exit(94)
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	ticks, err := strconv.ParseInt(fields[19], 10, 64)
	var boot unix.Timespec
	if err == nil {
		err = unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot)
	}
	if err != nil {
		os.Exit(94)
	}
	return time.Now().UnixNano() - (boot.Nano() - ticks*tick)
}

// hook notes that a command of the service runs.
func (p *part) hook(kind string) int {
	if alarm := os.Getenv("ABIDE_ALARM"); alarm != "" {
		note(p.file("alarms"), "%s %s", alarm, os.Getenv("ABIDE_FAULTS"))
		return 0
	}
	note(p.file("hooks"), "%s %s %d", p.run, kind, time.Now().UnixNano())
	return 0
}

func chance() *rand.Rand {
	return rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), uint64(os.Getpid())))
}

// say notes that the service is ready, and says so: by sd_notify(3), by a line on
// descriptor 3, or by taking connections.
func (p *part) say(sign string) {
	note(p.file("ready"), "%s %d", p.run, time.Now().UnixNano())
	var err error
	switch kind, port, _ := strings.Cut(sign, ":"); kind {
	case "notify":
		// While nothing of abide lives nobody can be told.
		for err = tell(); errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT); err = tell() {
			time.Sleep(10 * time.Millisecond)
		}
	case "fd":
		// Nobody to read it is nobody to tell, and no reason to end.
		signal.Ignore(syscall.SIGPIPE)
		os.NewFile(3, "ready").Write([]byte("\n"))
	case "tcp":
		var l net.Listener
		if l, err = net.Listen("tcp4", "127.0.0.1:"+port); err == nil {
			go func() {
				for {
					if c, err := l.Accept(); err == nil {
						c.Close()
					}
				}
			}()
		}
	}
	if err != nil {
		note(filepath.Join(p.dir, "trouble."), "run %s of %s cannot say by %s that it is ready: %v", p.run, p.name, sign, err)
		os.Exit(93)
	}
}

// tell sends one message by sd_notify(3).
func tell() error {
	c, err := net.Dial("unixgram", os.Getenv("NOTIFY_SOCKET"))
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Write([]byte("READY=1\nSTATUS=plays\n"))
	return err
}

// lead is what others need: it takes a while to be ready, and crashes some time
// after, until a file tells everybody to calm down.
func (p *part) lead(words []string) int {
	p.begin()
	r := chance()
	time.Sleep(time.Duration(r.IntN(400)) * time.Millisecond)
	p.say(words[0])
	time.Sleep(time.Duration(50+r.IntN(350)) * time.Millisecond)
	for p.calm() {
		time.Sleep(time.Hour)
	}
	// Mostly with success, which is no fault for those who need it.
	how := "0"
	if r.IntN(5) < 2 {
		how = ways[1+r.IntN(len(ways)-1)]
	}
	p.end(how)
	return p.die(how)
}

func (p *part) calm() bool {
	_, err := os.Stat(filepath.Join(p.dir, calmFile))
	return err == nil
}

// stay says that it is ready if there is a way to, and does nothing until it is told
// to end.
func (p *part) stay(words []string) int {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	p.begin()
	return p.until(stop, words)
}

// beside is a stay that other runs may stand beside.
func (p *part) beside(words []string) int {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	p.started()
	return p.until(stop, words)
}

func (p *part) until(stop <-chan os.Signal, words []string) int {
	r := chance()
	if len(words) > 0 {
		time.Sleep(time.Duration(r.IntN(40)) * time.Millisecond)
		p.say(words[0])
	}
	<-stop
	note(p.file("told"), "%s %d", p.run, time.Now().UnixNano())
	time.Sleep(time.Duration(r.IntN(30)) * time.Millisecond)
	p.end("0")
	return 0
}

// brief runs for a moment and ends as a crasher does.
func (p *part) brief([]string) int {
	p.begin()
	time.Sleep(time.Duration(50+chance().IntN(250)) * time.Millisecond)
	for p.calm() {
		time.Sleep(time.Hour)
	}
	return p.crash()
}

// faulty fails once and for all.
func (p *part) faulty([]string) int {
	p.begin()
	fmt.Println("this is the end")
	p.end("3")
	return 3
}
