//go:build linux

package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/abide-project/abide/test/internal/harness"
)

// nobody is a user who owns nothing, on every Debian.
const nobody, nogroup = 65534, 65534

// helperVariable makes this test program play another part: its value is the
// part, and the rest of its arguments.
const helperVariable = "ABIDE_E2E_HELPER"

func runHelper(part string) int {
	words := strings.Fields(part)
	switch words[0] {
	case "hang":
		return hangOn(words[1])
	case writerPart:
		return writeLines(words[1], words[2])
	case reaperPart, idleReaperPart:
		return beReaper(words[0] == reaperPart)
	case strangerPart:
		return beStranger()
	default:
		fmt.Fprintf(os.Stderr, "helper: no part is called %q\n", words[0])
		return 2
	}
}

// hangOn connects a thousand times, says something wrong or nothing on each
// connection, and keeps as many of them open as it may.
func hangOn(socket string) int {
	var open []net.Conn
	refused := 0
	for n := range 1000 {
		c, err := net.Dial("unix", socket)
		if err != nil {
			refused++
			continue
		}
		switch n % 4 {
		case 0: // says nothing at all
		case 1:
			c.Write([]byte("\x00\xff\xfe not HTTP at all\r\n\r\n"))
		case 2:
			c.Write([]byte("GET /v1/services HTTP/1.1\r\nHost: a"))
		case 3:
			c.Write([]byte("POST /v1/services/healthy/stop HTTP/1.1\r\nHost: abide\r\nContent-Length: 1000000000\r\n\r\n{"))
		}
		open = append(open, c)
	}
	fmt.Printf("hanging on %d, refused %d\n", len(open), refused)
	// Held until whoever started this closes its standard input.
	os.Stdin.Read(make([]byte, 1))
	for _, c := range open {
		c.Close()
	}
	return 0
}

// helper returns a command that runs this program in another part as nobody.
func helper(t *testing.T, part string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	harness.Check(t, err)
	// The test program lies in a folder that other users may not enter.
	file, err := os.Open(self)
	harness.Check(t, err)
	t.Cleanup(func() { file.Close() })
	c := exec.Command("/proc/self/fd/3")
	c.ExtraFiles = []*os.File{file}
	c.Env = append(os.Environ(), helperVariable+"="+part)
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nogroup}}
	return c
}
