package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tree returns root and every living descendant of it that does not bear one of
// the given names: the processes that a supervisor is made of.
func tree(root int, without ...string) []int {
	children := map[int][]int{}
	names := map[int]string{}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		name, fields, err := readStat(pid)
		if err != nil {
			continue
		}
		parent, _ := strconv.Atoi(fields[1])
		children[parent] = append(children[parent], pid)
		names[pid] = name
	}
	skip := map[string]bool{}
	for _, name := range without {
		skip[name] = true
	}
	var found []int
	for queue := []int{root}; len(queue) > 0; queue = queue[1:] {
		pid := queue[0]
		name, lives := names[pid]
		if !lives || skip[name] {
			continue
		}
		found = append(found, pid)
		queue = append(queue, children[pid]...)
	}
	return found
}

// readStat returns a process's name and the fields of /proc/PID/stat from the
// state on: field 0 is the state, 1 the parent, 11 and 12 the CPU ticks.
func readStat(pid int) (string, []string, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", nil, err
	}
	open, shut := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')')
	if open < 0 || shut < open {
		return "", nil, fmt.Errorf("cannot understand /proc/%d/stat", pid)
	}
	fields := strings.Fields(string(data[shut+1:]))
	if len(fields) < 15 {
		return "", nil, fmt.Errorf("cannot understand /proc/%d/stat", pid)
	}
	return string(data[open+1 : shut]), fields, nil
}

// cpu returns the time that the processes themselves have spent on a processor;
// what they have reaped are the services. The unit of the kernel's figure is
// 10 ms.
func cpu(pids []int) time.Duration {
	var ticks int64
	for _, pid := range pids {
		_, fields, err := readStat(pid)
		if err != nil {
			continue
		}
		for _, field := range fields[11:13] {
			n, _ := strconv.ParseInt(field, 10, 64)
			ticks += n
		}
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// pss returns the processes' proportional set size in bytes.
func pss(pids []int) int64 {
	var sum int64
	for _, pid := range pids {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(data)) {
			if kilobytes, ok := strings.CutPrefix(line, "Pss:"); ok {
				n, _ := strconv.ParseInt(strings.Fields(kilobytes)[0], 10, 64)
				sum += n * 1024
			}
		}
	}
	return sum
}

// wakeups returns how often the threads of the processes have gone to sleep of
// their own will, which is how often they were woken.
func wakeups(pids []int) int64 {
	var sum int64
	for _, pid := range pids {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
		for _, path := range threads {
			data, err := os.ReadFile(path)
			if err != nil {
				continue
			}
			for line := range strings.Lines(string(data)) {
				if count, ok := strings.CutPrefix(line, "voluntary_ctxt_switches:"); ok {
					n, _ := strconv.ParseInt(strings.TrimSpace(count), 10, 64)
					sum += n
				}
			}
		}
	}
	return sum
}

// count returns the number of entries of a folder of each process together:
// "fd" for descriptors, "task" for threads.
func count(pids []int, folder string) int {
	sum := 0
	for _, pid := range pids {
		entries, _ := os.ReadDir(fmt.Sprintf("/proc/%d/%s", pid, folder))
		sum += len(entries)
	}
	return sum
}
