//go:build linux

package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/abide-project/abide/test/internal/harness"
)

// session is an open ssh session with a program that returns each line.
type session struct {
	command *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
}

func (s *session) echo(text string) error {
	if _, err := fmt.Fprintln(s.in, text); err != nil {
		return err
	}
	type answer struct {
		line string
		err  error
	}
	answered := make(chan answer, 1)
	go func() {
		line, err := s.out.ReadString('\n')
		answered <- answer{line, err}
	}()
	select {
	case a := <-answered:
		if a.err != nil || strings.TrimSpace(a.line) != text {
			return fmt.Errorf("the session answers %q: %v", a.line, a.err)
		}
		return nil
	case <-time.After(harness.Patience):
		return fmt.Errorf("the session does not answer %q", text)
	}
}

func TestSSHSessionSurvivesRestartAndCrash(t *testing.T) {
	t.Parallel()
	a := harness.New(t)
	port := harness.FreePort(t)
	key, hostKey := filepath.Join(a.Dir, "key"), filepath.Join(a.Dir, "host_key")
	for _, path := range []string{key, hostKey} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path).CombinedOutput(); err != nil {
			t.Fatalf("cannot make a key: %v\n%s", err, out)
		}
	}
	conf := a.NewFile("sshd_config", fmt.Sprintf(`
ListenAddress 127.0.0.1:%d
HostKey %s
AuthorizedKeysFile %s.pub
PasswordAuthentication no
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
PidFile none
`, port, hostKey, key), 0o644)
	a.Example("sshd.toml", fmt.Sprintf("command = \"mkdir -p -m 0755 /run/sshd && exec /usr/sbin/sshd -D -e -f %s\"\n", conf))
	a.Start()
	a.Await("sshd", "running")
	listening := func() error {
		c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), 5*time.Second)
		if err != nil {
			return err
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(5 * time.Second))
		banner := make([]byte, 4)
		if _, err := io.ReadFull(c, banner); err != nil || string(banner) != "SSH-" {
			return fmt.Errorf("sshd says %q: %v", banner, err)
		}
		return nil
	}
	open := func() *session {
		c := exec.Command("ssh", "-T", "-F", "/dev/null", "-i", key, "-p", strconv.Itoa(port), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
			"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "root@127.0.0.1", "cat")
		c.Env = append(os.Environ(), "SSH_AUTH_SOCK=")
		c.Stderr = os.Stderr
		in, err := c.StdinPipe()
		harness.Check(t, err)
		out, err := c.StdoutPipe()
		harness.Check(t, err)
		harness.Check(t, c.Start())
		s := &session{c, in, bufio.NewReader(out)}
		t.Cleanup(func() {
			in.Close()
			c.Wait()
		})
		return s
	}
	harness.Eventually(t, "sshd answers", listening)
	first := open()
	harness.Check(t, first.echo("before anything"))

	before := a.Status("sshd")
	a.OK("restart", "sshd")
	after := a.AwaitNext(before)
	harness.Eventually(t, "sshd answers after a restart", listening)
	harness.Check(t, first.echo("after a restart"))

	harness.Check(t, syscall.Kill(after.Pid, syscall.SIGKILL))
	again := a.AwaitNext(after)
	harness.Eventually(t, "sshd answers after a crash", listening)
	harness.Check(t, first.echo("after a crash"))

	// HUP makes sshd execute itself: the same process, answering again.
	a.OK("reload", "sshd")
	a.AwaitLogged("sshd", "Received SIGHUP; restarting.")
	harness.Eventually(t, "sshd answers after a reload", listening)
	second := open()
	harness.Check(t, second.echo("after a reload"))
	if s := a.Status("sshd"); s.Pid != again.Pid {
		t.Errorf("a reload changed pid %d to %d", again.Pid, s.Pid)
	}

	a.OK("stop", "sshd")
	harness.PortFree(t, port)
	for _, s := range []*session{first, second} {
		harness.Check(t, s.echo("after a stop"))
		s.in.Close()
		s.command.Wait()
	}
	a.Gone("sshd")
}
