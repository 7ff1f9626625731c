// Package proctree reads the process tree from a mounted proc: who is whose
// parent, in which session and group, and what can be seen of a process from
// outside. Every function takes the mount point, so that a recorded tree can
// stand in for it. What it returns is old at once: a caller that signals compares
// the start time again behind a pidfd.
package proctree

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// Stat is what /proc/PID/stat says, as far as it is needed (proc_pid_stat(5)).
type Stat struct {
	Pid     int
	Comm    string
	State   byte
	Ppid    int
	Pgrp    int
	Session int
	Flags   uint64 // PF_ flags of the kernel
	Threads int
	Start   uint64 // clock ticks after boot
}

// Kernel reports whether it is a thread of the kernel and no process.
func (s *Stat) Kernel() bool {
	const kthread = 0x00200000
	return s.Flags&kthread != 0
}

// Gone reports whether the process has ended and only waits to be reaped. A
// leader that has exited before its other threads looks like a zombie too, but
// its process lives.
func (s *Stat) Gone() bool {
	return (s.State == 'Z' || s.State == 'X' || s.State == 'x') && s.Threads <= 1
}

var errStat = errors.New("not the form of a stat file")

// Positions of the fields behind the name, which may hold any byte.
const (
	fieldState   = 0
	fieldPpid    = 1
	fieldPgrp    = 2
	fieldSession = 3
	fieldFlags   = 6
	fieldThreads = 17
	fieldStart   = 19
)

// ParseStat reads the content of a stat file.
func ParseStat(data []byte) (Stat, error) {
	var s Stat
	open := bytes.IndexByte(data, '(')
	shut := bytes.LastIndexByte(data, ')')
	if open < 2 || shut < open || shut+2 > len(data) || data[open-1] != ' ' {
		return s, errStat
	}
	pid, err := strconv.Atoi(string(data[:open-1]))
	if err != nil || pid <= 0 {
		return s, errStat
	}
	s.Pid, s.Comm = pid, string(data[open+1:shut])
	rest := data[shut+1:]
	for i := 0; i <= fieldStart; i++ {
		rest = bytes.TrimLeft(rest, " ")
		field, after, _ := bytes.Cut(rest, []byte(" "))
		rest = after
		field = bytes.TrimRight(field, "\n")
		if len(field) == 0 {
			return Stat{}, errStat
		}
		var number int
		switch i {
		case fieldState:
			if len(field) != 1 {
				return Stat{}, errStat
			}
			s.State = field[0]
			continue
		case fieldPpid, fieldPgrp, fieldSession, fieldThreads:
			if number, err = strconv.Atoi(string(field)); err != nil {
				return Stat{}, errStat
			}
		case fieldFlags:
			if s.Flags, err = strconv.ParseUint(string(field), 10, 64); err != nil {
				return Stat{}, errStat
			}
		case fieldStart:
			if s.Start, err = strconv.ParseUint(string(field), 10, 64); err != nil {
				return Stat{}, errStat
			}
		}
		switch i {
		case fieldPpid:
			s.Ppid = number
		case fieldPgrp:
			s.Pgrp = number
		case fieldSession:
			s.Session = number
		case fieldThreads:
			s.Threads = number
		}
	}
	return s, nil
}

// ParsePids reads numbers divided by spaces or line feeds, the form of a children
// file and of cgroup.procs. 0 stands for a process outside our pid namespace and
// is left out.
func ParsePids(data []byte) ([]int, error) {
	var pids []int
	for field := range bytes.FieldsSeq(data) {
		pid, err := strconv.Atoi(string(field))
		if err != nil || pid < 0 {
			return pids, fmt.Errorf("%q is not a process number", field)
		}
		if pid > 0 {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// HasEnv reports whether an environment block (entries ended by NUL) has the
// entry, "NAME=value".
func HasEnv(block []byte, entry string) bool {
	for len(block) > 0 {
		var one []byte
		one, block, _ = bytes.Cut(block, []byte{0})
		if string(one) == entry {
			return true
		}
	}
	return false
}

// EnvPrefix returns the first entry of an environment block that begins with
// prefix, "" if none does.
func EnvPrefix(block []byte, prefix string) string {
	for len(block) > 0 {
		var one []byte
		one, block, _ = bytes.Cut(block, []byte{0})
		if bytes.HasPrefix(one, []byte(prefix)) {
			return string(one)
		}
	}
	return ""
}
