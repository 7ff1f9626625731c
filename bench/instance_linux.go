package main

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long anything may take before the run calls it broken.
const patience = time.Minute

// instance is one supervisor with its services, started and stopped as often as
// the measures ask. Its folder, and with it what the supervisor prepared there
// on the first start, stays.
type instance struct {
	kind    *kind
	setting *setting
	pipe    *stampPipe
	process *exec.Cmd
	pids    []int   // of the children, by slot
	began   []int64 // when each child began, by slot
}

func newInstance(k *kind, b *bench, services int) (*instance, error) {
	for _, program := range k.needs {
		if _, err := exec.LookPath(program); err != nil {
			return nil, fmt.Errorf("cannot measure %s: %s is not installed", k.name, program)
		}
	}
	dir, err := os.MkdirTemp(b.dir, k.name+"-")
	if err != nil {
		return nil, err
	}
	// Definitions are only taken from folders that others cannot change.
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, err
	}
	pipe, err := newStampPipe(dir)
	if err != nil {
		return nil, err
	}
	i := &instance{kind: k, pipe: pipe, pids: make([]int, services), began: make([]int64, services)}
	i.setting = &setting{dir: dir, services: services, fifo: pipe.path, programs: b.programs, bin: b.bin}
	if err := k.prepare(i.setting); err != nil {
		return nil, fmt.Errorf("cannot prepare %s: %w", k.name, err)
	}
	return i, nil
}

// remove deletes the instance's folder.
func (i *instance) remove() {
	i.pipe.close()
	os.RemoveAll(i.setting.dir)
}

// start runs the supervisor and returns how long it took from the call until the
// last service had executed its first instruction.
func (i *instance) start() (time.Duration, error) {
	arguments := i.kind.command(i.setting)
	output, err := os.OpenFile(i.setting.path("output"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return 0, err
	}
	defer output.Close()
	i.process = exec.Command(arguments[0], arguments[1:]...)
	i.process.Dir = i.setting.dir
	i.process.Env = append(os.Environ(), i.kind.env...)
	i.process.Stdout, i.process.Stderr = output, output
	clear(i.pids)
	begin := now()
	if err := i.process.Start(); err != nil {
		return 0, fmt.Errorf("cannot start %s: %w", i.kind.name, err)
	}
	last, err := i.collect(i.setting.services)
	if err != nil {
		return 0, fmt.Errorf("cannot start %d services under %s: %w; it said: %s",
			i.setting.services, i.kind.name, err, i.said())
	}
	return time.Duration(last - begin), nil
}

// said returns the end of what the supervisor printed.
func (i *instance) said() string {
	data, _ := os.ReadFile(i.setting.path("output"))
	text := strings.TrimSpace(string(data))
	if len(text) > 600 {
		text = "..." + text[len(text)-600:]
	}
	return text
}

// collect takes stamps until so many different slots have a new child, and
// returns the time of the latest of them.
func (i *instance) collect(slots int) (int64, error) {
	deadline := time.Now().Add(patience)
	seen := make([]bool, len(i.pids))
	var last int64
	for slots > 0 {
		s, err := i.take(deadline)
		if err != nil {
			return 0, fmt.Errorf("%d services did not come: %w", slots, err)
		}
		last = max(last, s.at)
		if !seen[s.slot] {
			seen[s.slot] = true
			slots--
		}
	}
	return last, nil
}

// take reads one stamp and remembers it.
func (i *instance) take(deadline time.Time) (stamp, error) {
	s, err := i.pipe.next(deadline)
	if err != nil {
		return s, err
	}
	if s.slot < 0 || s.slot >= len(i.pids) {
		return s, fmt.Errorf("a child of %s calls itself %d", i.kind.name, s.slot)
	}
	i.pids[s.slot], i.began[s.slot] = s.pid, s.at
	return s, nil
}

// killOne kills the child in a slot and returns the time to the first
// instruction of its successor.
func (i *instance) killOne(slot int) (time.Duration, error) {
	begin := now()
	if err := unix.Kill(i.pids[slot], unix.SIGKILL); err != nil {
		return 0, fmt.Errorf("cannot kill a child of %s: %w", i.kind.name, err)
	}
	deadline := time.Now().Add(patience)
	for {
		s, err := i.take(deadline)
		if err != nil {
			return 0, fmt.Errorf("%s did not start a service again: %w", i.kind.name, err)
		}
		if s.slot == slot {
			return time.Duration(s.at - begin), nil
		}
	}
}

// killAll kills every child and returns the time until the last one is back.
func (i *instance) killAll() (time.Duration, error) {
	before := append([]int(nil), i.pids...)
	begin := now()
	for _, pid := range before {
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			return 0, fmt.Errorf("cannot kill a child of %s: %w", i.kind.name, err)
		}
	}
	last, err := i.collect(len(before))
	if err != nil {
		return 0, fmt.Errorf("%s did not bring everything back: %w", i.kind.name, err)
	}
	return time.Duration(last - begin), nil
}

// settle lets every service live long enough to count as healthy, and lets what
// was just started come to rest.
func (i *instance) settle() {
	youngest := int64(0)
	for _, at := range i.began {
		youngest = max(youngest, at)
	}
	time.Sleep(time.Duration(youngest + int64(1100*time.Millisecond) - now()))
}

// own returns the supervisor's processes without its services.
func (i *instance) own() []int { return tree(i.process.Process.Pid, "stamp", "writer") }

// stop gives the order to end everything and returns the time until the last
// service is gone. Afterwards nothing of the supervisor is left.
func (i *instance) stop() (time.Duration, error) {
	watch, err := watchExits(i.pids)
	if err != nil {
		return 0, err
	}
	defer watch.close()
	begin := now()
	if i.kind.stopCommand != nil {
		arguments := i.kind.stopCommand(i.setting)
		if out, err := exec.Command(arguments[0], arguments[1:]...).CombinedOutput(); err != nil {
			return 0, fmt.Errorf("cannot stop %s: %w: %.200s", i.kind.name, err, out)
		}
	} else if err := i.process.Process.Signal(i.kind.stopSignal); err != nil {
		return 0, fmt.Errorf("cannot stop %s: %w", i.kind.name, err)
	}
	last, err := watch.wait(patience)
	took := time.Duration(last - begin)
	i.end()
	if err != nil {
		return 0, fmt.Errorf("cannot stop %s: %w", i.kind.name, err)
	}
	return took, nil
}

// end lets the supervisor end by itself, and then kills whatever of it is left.
// The svscan of daemontools is not meant to end: it would start anew what has
// just been stopped.
func (i *instance) end() {
	if i.kind.endless {
		i.process.Process.Kill()
	}
	done := make(chan struct{})
	go func() {
		i.process.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		i.process.Process.Kill()
		<-done
	}
	sweep(i.setting.dir)
}

// sweep kills every process that works in a folder of this run or has it on its
// command line, until there is none.
func sweep(dir string) {
	for range 100 {
		found := false
		entries, _ := os.ReadDir("/proc")
		for _, e := range entries {
			pid, err := strconv.Atoi(e.Name())
			if err != nil || pid == os.Getpid() || !within(pid, dir) {
				continue
			}
			found = true
			unix.Kill(pid, unix.SIGKILL)
		}
		if !found {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func within(pid int, dir string) bool {
	at, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	if err == nil && (at == dir || strings.HasPrefix(at, dir+"/")) {
		return true
	}
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && strings.Contains(string(line), dir+"/")
}

// exitWatch tells when processes that are not our children end.
type exitWatch struct {
	epoll int
	fds   []int
}

func watchExits(pids []int) (*exitWatch, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	w := &exitWatch{epoll: epoll}
	for _, pid := range pids {
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			w.close()
			return nil, fmt.Errorf("cannot watch process %d: %w", pid, err)
		}
		w.fds = append(w.fds, fd)
		event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT, Fd: int32(fd)}
		if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
			w.close()
			return nil, err
		}
	}
	return w, nil
}

// wait returns the time at which the last process was seen to have ended.
func (w *exitWatch) wait(limit time.Duration) (int64, error) {
	deadline := time.Now().Add(limit)
	events := make([]unix.EpollEvent, 256)
	for left := len(w.fds); left > 0; {
		n, err := unix.EpollWait(w.epoll, events, int(time.Until(deadline)/time.Millisecond))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return now(), err
		}
		if n == 0 {
			return now(), fmt.Errorf("%d services still live", left)
		}
		left -= n
	}
	return now(), nil
}

func (w *exitWatch) close() {
	for _, fd := range w.fds {
		unix.Close(fd)
	}
	unix.Close(w.epoll)
}
