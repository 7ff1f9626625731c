package spawn

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/abide-project/abide/internal/spawn/prog"
	"github.com/abide-project/abide/internal/spawn/vspawn"
)

// note is what there is to say about an op when it fails.
type note struct {
	what   string // follows "cannot"
	hint   string // for EPERM and EACCES
	wrong  string // for EINVAL
	kind   subject
	path   string
	user   string
	chroot string
	tried  []string
	remote bool // path is not on a mount known local: do not look at it
}

// subject is what an op is about, which decides what else to look at when it
// fails.
type subject uint8

const (
	aboutNothing subject = iota
	aboutFolder          // the directory a service runs in
	aboutProgram
)

// Explain says why a run did not start: "cannot set RLIMIT_NOFILE to
// 65536:65536: operation not permitted". op is an index into Labels or one of
// vspawn's Fail values or prog's Report values. For a program that could not be
// executed it looks at the file, if that is local.
func (p *Program) Explain(op, errno int) string {
	reason := syscall.Errno(errno)
	switch {
	case op == vspawn.FailClone:
		return "cannot create a process: " + reason.Error()
	case op == vspawn.FailClose:
		return "cannot close abide's descriptors in the new process: " + reason.Error()
	case op == vspawn.FailCgroup:
		return "cannot join the cgroup of the run: " + reason.Error()
	case op == vspawn.FailPass:
		return "cannot hand descriptors to the new process: " + reason.Error()
	case op == prog.ReportNoProgram:
		return "cannot read the spawn program in abide-exec: " + reason.Error()
	case op == prog.ReportRefused:
		return "cannot use the spawn program in abide-exec: it is not valid"
	case op == prog.ReportNoExec:
		return "cannot run abide-exec: " + reason.Error()
	case op < 0 || op >= len(p.notes):
		return fmt.Sprintf("cannot start the program: step %d: %v", op, reason)
	}
	n := p.notes[op]
	if n.kind == aboutProgram {
		return "cannot " + n.what + ": " + n.execReason(reason)
	}
	return "cannot " + n.what + ": " + reason.Error()
}

// Hint returns what to do about a failure that Explain puts into words, "" when
// there is nothing to add.
func (p *Program) Hint(op, errno int) string {
	reason := syscall.Errno(errno)
	if op == vspawn.FailClone {
		switch {
		case reason == syscall.EAGAIN:
			return "the limit of processes is reached: see RLIMIT_NPROC, the pids controller and kernel.pid_max"
		case reason == syscall.ENOMEM:
			return "memory is short"
		}
		return ""
	}
	if op < 0 || op >= len(p.notes) {
		return ""
	}
	n := p.notes[op]
	denied := reason == syscall.EPERM || reason == syscall.EACCES
	switch {
	case n.kind == aboutProgram && reason == syscall.EAGAIN:
		return "user " + n.user + " has as many processes as RLIMIT_NPROC allows"
	case n.kind == aboutProgram && reason == syscall.ENOENT && len(n.tried) > 0:
		return "tried before: " + strings.Join(n.tried, " ")
	case n.kind == aboutFolder && denied:
		return "the directory is entered as the service's own user"
	case n.kind == aboutFolder && reason == syscall.ENOENT:
		return "create " + n.path + ", or set directory to one that exists"
	case denied:
		return n.hint
	case reason == syscall.EINVAL:
		return n.wrong
	}
	return ""
}

// ExitCode is what a shell would end with for a failure that Explain puts into
// words: 127 when the program or what interprets it is not there, 126 when it
// cannot be executed, 125 when something else is at fault.
func (p *Program) ExitCode(op, errno int) int {
	if op < 0 || op >= len(p.notes) || p.notes[op].kind != aboutProgram {
		return exitNotStarted
	}
	switch syscall.Errno(errno) {
	case syscall.ENOENT, syscall.ENOTDIR:
		return exitNotFound
	case syscall.EACCES, syscall.EPERM, syscall.ENOEXEC, syscall.EISDIR, syscall.ETXTBSY,
		syscall.ELOOP, syscall.EINVAL, syscall.EIO:
		return exitNoProgram
	}
	return exitNotStarted
}

// execReason is errno in the words of the file at fault.
func (n note) execReason(reason syscall.Errno) string {
	switch reason {
	case syscall.ENOENT, syscall.EACCES, syscall.ENOEXEC:
	case syscall.E2BIG:
		return "arguments and environment are too long"
	case syscall.ETXTBSY:
		return "it is open for writing"
	default:
		return reason.Error()
	}
	if n.remote || !filepath.IsAbs(n.path) {
		return reason.Error()
	}
	mode, err := statIn(n.chroot, n.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "it does not exist"
	case err != nil:
		return reason.Error()
	case mode&0o170000 == 0o040000:
		return "it is a directory"
	case mode&0o170000 != 0o100000:
		return "it is not a regular file"
	case reason == syscall.EACCES && mode&0o111 == 0:
		return fmt.Sprintf("it is not executable (mode %04o)", mode&0o7777)
	case reason == syscall.EACCES:
		return fmt.Sprintf("user %s may not (mode %04o, or its folders, or a mount with noexec)", n.user, mode&0o7777)
	}
	return n.contentReason(reason)
}

// contentReason looks for an interpreter or loader that is missing.
func (n note) contentReason(reason syscall.Errno) string {
	f, err := openPlain(filepath.Join("/", n.chroot, n.path), false)
	if err != nil {
		return reason.Error()
	}
	defer f.Close()
	head := make([]byte, 256)
	count, _ := f.Read(head)
	head = head[:count]
	switch {
	case count == 0:
		return "it is empty"
	case bytes.HasPrefix(head, []byte("#!")):
		line, _, _ := bytes.Cut(head[2:], []byte("\n"))
		words := strings.FieldsFunc(string(line), func(r rune) bool { return r == ' ' || r == '\t' })
		if len(words) == 0 {
			return "its first line names no interpreter"
		}
		if _, err := statIn(n.chroot, words[0]); errors.Is(err, fs.ErrNotExist) {
			if name, ok := strings.CutSuffix(words[0], "\r"); ok {
				return fmt.Sprintf("its interpreter %s (line 1) does not exist: the line ends in a carriage return", name)
			}
			return fmt.Sprintf("its interpreter %s (line 1) does not exist", words[0])
		}
	case bytes.HasPrefix(head, []byte("\x7fELF")):
		if loader := loaderOf(f); loader != "" {
			if _, err := statIn(n.chroot, loader); errors.Is(err, fs.ErrNotExist) {
				return fmt.Sprintf("its loader %s does not exist", loader)
			}
		}
		if reason == syscall.ENOEXEC {
			return "it is not for this machine"
		}
	case reason == syscall.ENOEXEC:
		return "it is neither a binary nor a script that begins with #!"
	}
	return reason.Error()
}

// loaderOf returns the dynamic loader an ELF file asks for, "" if none.
func loaderOf(f fileAt) string {
	e, err := elf.NewFile(f)
	if err != nil {
		return ""
	}
	for _, p := range e.Progs {
		if p.Type == elf.PT_INTERP && p.Filesz < 4096 {
			name := make([]byte, p.Filesz)
			if _, err := p.ReadAt(name, 0); err == nil {
				return strings.TrimRight(string(name), "\x00")
			}
		}
	}
	return ""
}

type fileAt interface {
	ReadAt(p []byte, off int64) (int, error)
}
