package outside

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/sys/proctree"
)

// maxCommand bounds what is read of a command line.
const maxCommand = 1 << 20

// Look looks at a process. fs.ErrNotExist: there is none of this number.
func Look(proc string, pid int) (Process, error) {
	stat, err := proctree.ReadStat(proc, pid)
	if err != nil {
		return Process{}, err
	}
	p := Process{
		Pid: pid, Start: stat.Start, Comm: stat.Comm, Parent: stat.Ppid, Kernel: stat.Kernel(), Ended: stat.Gone(),
		UIDs: [4]int{-1, -1, -1, -1}, GIDs: [4]int{-1, -1, -1, -1},
	}
	dir := proc + "/" + strconv.Itoa(pid)
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return Process{}, gone(err)
	}
	readIDs(status, &p)
	if line, err := readSome(dir+"/cmdline", maxCommand); err == nil && len(line) > 0 {
		p.Command = strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00")
	}
	p.Directory, _ = os.Readlink(dir + "/cwd")
	if block, err := proctree.Environ(proc, pid); err == nil {
		p.RunID = strings.TrimPrefix(proctree.EnvPrefix(block, "ABIDE_RUN_ID="), "ABIDE_RUN_ID=")
	}
	// All of this was of one process if that one is still there.
	if again, err := proctree.ReadStat(proc, pid); err != nil || again.Start != stat.Start {
		return Process{}, fs.ErrNotExist
	}
	return p, nil
}

func gone(err error) error {
	if errors.Is(err, unix.ESRCH) {
		return fs.ErrNotExist
	}
	return err
}

func readSome(path string, most int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var buf bytes.Buffer
	for buf.Len() < most {
		var part [4096]byte
		n, err := f.Read(part[:])
		buf.Write(part[:n])
		if err != nil || n == 0 {
			break
		}
	}
	return buf.Bytes(), nil
}

// readIDs takes the user and group ids out of a status file.
func readIDs(status []byte, p *Process) {
	for line := range strings.Lines(string(status)) {
		name, rest, _ := strings.Cut(line, ":")
		ids := &p.UIDs
		switch name {
		case "Uid":
		case "Gid":
			ids = &p.GIDs
		default:
			continue
		}
		for i, field := range strings.Fields(rest) {
			if n, err := strconv.Atoi(field); err == nil && i < len(ids) {
				ids[i] = n
			}
		}
	}
}

// Start returns when a process began, in clock ticks after boot.
func Start(proc string, pid int) (uint64, error) {
	stat, err := proctree.ReadStat(proc, pid)
	return stat.Start, err
}

// Ancestors returns the parents of a process, the nearest first.
func Ancestors(proc string, pid int) []int {
	const deepest = 1024
	var all []int
	for len(all) < deepest {
		stat, err := proctree.ReadStat(proc, pid)
		if err != nil || stat.Ppid == 0 {
			break
		}
		all = append(all, stat.Ppid)
		pid = stat.Ppid
	}
	return all
}

// SameNamespace reports whether pid numbers mean the same to a process as to us.
func SameNamespace(proc string, pid int) bool {
	ours, err := os.Readlink(proc + "/self/ns/pid")
	if err != nil {
		return true // without namespaces there is but one
	}
	theirs, err := os.Readlink(fmt.Sprintf("%s/%d/ns/pid", proc, pid))
	return err == nil && ours == theirs
}

// OutputOf says where a descriptor of a process leads.
func OutputOf(proc string, pid, fd int) Output {
	link := fmt.Sprintf("%s/%d/fd/%d", proc, pid, fd)
	target, err := os.Readlink(link)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return Output{Kind: Hidden}
	case err != nil:
		return Output{Kind: Closed}
	}
	o := Output{Kind: Other, Target: target}
	var st unix.Stat_t
	if err := unix.Stat(link, &st); err != nil {
		return o
	}
	o.Dev, o.Ino = st.Dev, st.Ino
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFIFO:
		o.Kind = Pipe
	case unix.S_IFREG:
		o.Kind = File
	case unix.S_IFSOCK:
		o.Kind = Socket
	case unix.S_IFCHR:
		const memory, null = 1, 3
		major := unix.Major(st.Rdev)
		switch {
		case major == memory && unix.Minor(st.Rdev) == null:
			o.Kind = Null
		case major == 4 || major == 5 || major >= 136 && major < 144:
			o.Kind = Terminal
		}
	}
	return o
}

// Readers returns the processes that have a pipe open for reading, but for those
// that except says yes to. It looks at every descriptor of the system. An error
// says that not everything could be seen.
func Readers(proc string, pipe Output, except func(pid int) bool) ([]Reader, error) {
	pids, err := proctree.Pids(proc)
	if err != nil {
		return nil, fmt.Errorf("cannot list the processes: %w", err)
	}
	var readers []Reader
	var unseen error
	for _, pid := range pids {
		if except(pid) {
			continue
		}
		reads, err := readsPipe(proc, pid, pipe)
		switch {
		case reads:
			stat, _ := proctree.ReadStat(proc, pid)
			readers = append(readers, Reader{Pid: pid, Comm: stat.Comm})
		case errors.Is(err, fs.ErrNotExist):
		case err != nil && unseen == nil:
			unseen = fmt.Errorf("cannot look at the descriptors of process %d: %w", pid, reason(err))
		}
	}
	return readers, unseen
}

// reason is the bare cause, without the path.
func reason(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

func readsPipe(proc string, pid int, pipe Output) (bool, error) {
	return proctree.Descriptors(proc, pid, func(path string, info fs.FileInfo) bool {
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok || info.Mode()&fs.ModeNamedPipe == 0 || uint64(st.Ino) != pipe.Ino || uint64(st.Dev) != pipe.Dev {
			return false
		}
		return openForReading(proc, pid, path[strings.LastIndexByte(path, '/')+1:])
	})
}

// openForReading reads the mode of a descriptor; one that cannot be read counts.
func openForReading(proc string, pid int, fd string) bool {
	data, err := os.ReadFile(fmt.Sprintf("%s/%d/fdinfo/%s", proc, pid, fd))
	if err != nil {
		return true
	}
	for line := range strings.Lines(string(data)) {
		rest, ok := strings.CutPrefix(line, "flags:")
		if !ok {
			continue
		}
		flags, err := strconv.ParseUint(strings.TrimSpace(rest), 8, 64)
		return err != nil || flags&unix.O_ACCMODE != unix.O_WRONLY
	}
	return true
}

// OpenOutput opens the pipe behind a descriptor of a process for reading, if it is
// still the one that was seen. The descriptor does not block.
func OpenOutput(proc string, pid, fd int, seen Output) (int, error) {
	link := fmt.Sprintf("%s/%d/fd/%d", proc, pid, fd)
	open, err := unix.Open(link, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("cannot open the output of process %d: %w", pid, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(open, &st); err != nil || st.Ino != seen.Ino || st.Dev != seen.Dev || st.Mode&unix.S_IFMT != unix.S_IFIFO {
		unix.Close(open)
		return -1, fmt.Errorf("cannot open the output of process %d: it changed meanwhile", pid)
	}
	return open, nil
}
