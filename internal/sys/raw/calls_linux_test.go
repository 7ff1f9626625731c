package raw

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
)

func TestWaitStatusIsThatOfWait4(t *testing.T) {
	for _, script := range []string{"exit 0", "exit 42", "kill -9 $$", "kill -TERM $$"} {
		cmd := exec.Command("/bin/sh", "-c", script)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var info Siginfo
		for info.Pid == 0 {
			var usage syscall.Rusage
			if e := WaitID(PPid, cmd.Process.Pid, &info, WExited|WNoWait|WNoHang, &usage); e != 0 {
				t.Fatal(e)
			}
			Sleep(1_000_000)
		}
		_ = cmd.Wait()
		if want := uint32(cmd.ProcessState.Sys().(syscall.WaitStatus)); info.WaitStatus() != want {
			t.Errorf("%s: status %#x, want %#x", script, info.WaitStatus(), want)
		}
	}
}

func TestStatKnowsUs(t *testing.T) {
	st, e := ReadStat(os.Getpid())
	if e != 0 || st.Ppid != os.Getppid() || st.Start == 0 {
		t.Errorf("%+v %v", st, e)
	}
	if _, e := ReadStat(1 << 29); e != syscall.ENOENT {
		t.Errorf("no such process: %v", e)
	}
}

func TestMessagesCarryDescriptors(t *testing.T) {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer Close(pair[1])
	var m Messenger
	buf := make([]byte, 8)
	if _, _, _, e := m.Receive(pair[1], buf); e != syscall.EAGAIN {
		t.Errorf("an empty socket: %v", e)
	}
	want, _ := Inode(pair[0])
	if e := m.Send(pair[0], []byte("12345"), []int{pair[0], pair[0]}); e != 0 {
		t.Fatal(e)
	}
	n, fds, truncated, e := m.Receive(pair[1], buf)
	if n != 5 || len(fds) != 2 || truncated || e != 0 || string(buf[:n]) != "12345" {
		t.Fatalf("%d %v %v %v %q", n, fds, truncated, e, buf)
	}
	for _, fd := range fds {
		got, _ := Inode(fd)
		flags, _ := DescriptorFlags(fd)
		if got != want || flags != syscall.FD_CLOEXEC {
			t.Errorf("descriptor %d: inode %d want %d, flags %d", fd, got, want, flags)
		}
		Close(fd)
	}
	if e := m.Send(pair[0], []byte("123456789"), nil); e != 0 {
		t.Fatal(e)
	}
	if n, _, _, _ := m.Receive(pair[1], buf); n != 9 {
		t.Errorf("a message of 9 bytes in a buffer of 8 has length %d", n)
	}
	if e := m.Send(pair[0], []byte("x"), make([]int, MaxFDs+1)[:MaxFDs]); e != 0 {
		t.Errorf("the most descriptors: %v", e)
	}
	n, fds, _, _ = m.Receive(pair[1], buf)
	if n != 1 || len(fds) != MaxFDs {
		t.Errorf("%d bytes, %d descriptors", n, len(fds))
	}
	for _, fd := range fds {
		Close(fd)
	}
	Close(pair[0])
	if n, _, _, e := m.Receive(pair[1], buf); n != 0 || e != 0 {
		t.Errorf("the end of the connection: %d, %v", n, e)
	}
}

func TestAReapedProcessTellsItsStatusByPidfd(t *testing.T) {
	cmd := exec.Command("/bin/sh", "-c", "exit 9")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	fd, e := PidfdOpen(cmd.Process.Pid)
	if e != 0 {
		t.Fatal(e)
	}
	defer Close(fd)
	if _, known := PidfdExit(fd); known {
		t.Error("a process that nobody has reaped has a status")
	}
	_ = cmd.Wait()
	if e := PidfdSignal(fd, 0, 0); e != syscall.ESRCH {
		t.Errorf("signal to an ended process: %v", e)
	}
	if status, known := PidfdExit(fd); known && status != 9<<8 {
		t.Errorf("status %#x", status)
	}
}
