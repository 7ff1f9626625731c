//go:build linux && (amd64 || arm64)

package spawn

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/model"
)

// readyPipe makes a FIFO that somebody has open for reading.
func readyPipe(t *testing.T) (path string, fd int) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "ready")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return path, fd
}

// Whatever numbers the child's own descriptors happen to have.
func TestTheReadyPipeHasTheNumberThatIsAskedFor(t *testing.T) {
	for _, number := range []int{3, 4, 5, 6, 7, 8, 9, 61} {
		onEveryRung(t, func(t *testing.T, r rung) {
			path, fd := readyPipe(t)
			svc := &model.Service{Name: "web", Shell: true, Umask: 0o022, Ready: model.Ready{FD: number}}
			svc.Script = fmt.Sprintf("echo up >/proc/$$/fd/%d; kill -STOP $$", number)
			p, err := compiler(t).Compile(svc, Run{Ready: path})
			if err != nil {
				t.Fatal(err)
			}
			c := r.start(t, p)
			if c.errno != 0 {
				t.Fatal(p.Explain(c.op, int(c.errno)))
			}
			var info unix.Siginfo
			if err := unix.Waitid(unix.P_PID, c.pid, &info, unix.WSTOPPED|unix.WNOWAIT, nil); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 64)
			if n, err := unix.Read(fd, b); err != nil || string(b[:max(n, 0)]) != "up\n" {
				t.Fatalf("descriptor %d: read %q, %v", number, b[:max(n, 0)], err)
			}
			open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", c.pid))
			if err != nil || len(open) != 4 {
				t.Errorf("the program has the descriptors %v (%v), want 0, 1, 2 and %d", open, err, number)
			}
			c.end()
			if n, err := unix.Read(fd, b); n != 0 || err != nil {
				t.Errorf("after its end: %d, %v, want the end of the pipe", n, err)
			}
		})
	}
}

func TestAReadyPipeBeyondTheLimitOfDescriptorsIsExplained(t *testing.T) {
	onEveryRung(t, func(t *testing.T, r rung) {
		path, _ := readyPipe(t)
		svc := &model.Service{Name: "web", Command: []string{"/bin/true"}, Umask: 0o022, Ready: model.Ready{FD: 40}}
		svc.Rlimits = []model.Rlimit{{Name: "nofile", Soft: 20, Hard: 20}}
		p, err := compiler(t).Compile(svc, Run{Ready: path})
		if err != nil {
			t.Fatal(err)
		}
		op, errno := r.start(t, p).failure()
		if got, want := p.Explain(op, int(errno)), "cannot open the pipe for readiness as descriptor 40: bad file descriptor"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

func TestACommandHasNoReadyPipe(t *testing.T) {
	svc := &model.Service{Name: "web", Command: []string{"/bin/true"}, Ready: model.Ready{FD: 3}}
	p, err := compiler(t).Command(svc, []string{"/bin/true"}, Run{Ready: os.DevNull})
	if err != nil {
		t.Fatal(err)
	}
	for _, label := range p.Labels {
		if label == "open the pipe for readiness as descriptor 3" {
			t.Error("a command beside the service gets its pipe")
		}
	}
}

func TestTextsOfAProbeAreExpanded(t *testing.T) {
	svc := &model.Service{Name: "web@2", Instance: "2"}
	got, err := compiler(t).Expand(svc, "http://${host}/${name}/${instance}", 7)
	if err != nil || got != "http://testhost/web@2/2" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := compiler(t).Expand(svc, "${PORT}", 7); err == nil {
		t.Error("a variable of the environment was expanded")
	}
}
