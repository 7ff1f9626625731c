package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// kind is one way of keeping services alive, told how to set it up as its manual
// shows it: a "run" file is the customary two lines of shell, a throttle stays
// as it comes.
type kind struct {
	name    string
	needs   []string // programs that must be found in PATH
	env     []string
	prepare func(s *setting) error
	command func(s *setting) []string
	// stop is the order to end everything: a signal to the supervisor or a
	// command. The time it takes to give the order counts.
	stopSignal  unix.Signal
	stopCommand func(s *setting) []string
	// statusOne and statusAll print the state of service 0 and of all. They are
	// nil where one command cannot do it.
	statusOne, statusAll func(s *setting) []string
	// throttled kinds wait about a second before every restart, by design, and
	// are measured less often.
	throttled bool
	endless   bool // does not end with its services and has to be killed
	note      string
}

// setting is what a kind needs to know to be set up.
type setting struct {
	dir      string // the kind's own folder
	services int
	fifo     string
	programs programs
	bin      string // where abide's programs are
}

func (s *setting) path(elements ...string) string {
	return filepath.Join(append([]string{s.dir}, elements...)...)
}

// name of a service by its slot.
func (s *setting) name(slot int) string { return fmt.Sprintf("s%04d", slot) }

// kinds are all that can be measured, in the order of the table.
func kinds() []*kind {
	return []*kind{baselineKind(), abideKind("abide"), abideKind("abide-clone", "ABIDE_RUNG=clone"),
		runitKind(), s6Kind(), daemontoolsKind(), supervisorKind()}
}

func baselineKind() *kind {
	return &kind{
		name:    floor,
		prepare: func(*setting) error { return nil },
		command: func(s *setting) []string {
			return []string{s.programs.baseline, strconv.Itoa(s.services), s.programs.stamp, s.fifo}
		},
		stopSignal: unix.SIGTERM,
	}
}

func abideKind(name string, env ...string) *kind {
	verb := func(s *setting, arguments ...string) []string {
		return append([]string{filepath.Join(s.bin, "abide"), "--run", s.path("run")}, arguments...)
	}
	return &kind{
		name: name,
		env:  env,
		prepare: func(s *setting) error {
			return eachService(s, func(slot int) error {
				text := fmt.Sprintf("command = [%q, %q, \"%d\"]\n", s.programs.stamp, s.fifo, slot)
				return writeFile(s.path("services", s.name(slot)+".toml"), text, 0o644)
			})
		},
		command: func(s *setting) []string { return abideDaemon(s.bin, s.dir) },
		statusOne: func(s *setting) []string {
			return verb(s, "status", s.name(0))
		},
		statusAll:  func(s *setting) []string { return verb(s, "status") },
		stopSignal: unix.SIGTERM,
	}
}

// abideDaemon is the command line of a daemon whose folders are all below dir.
func abideDaemon(bin, dir string) []string {
	return []string{filepath.Join(bin, "abide"), "daemon",
		"--config", filepath.Join(dir, "services"), "--run", filepath.Join(dir, "run"),
		"--state", filepath.Join(dir, "state"), "--log", filepath.Join(dir, "log")}
}

func runitKind() *kind {
	return &kind{
		name:       "runit",
		needs:      []string{"runsvdir", "runsv", "sv"},
		prepare:    runFiles,
		command:    func(s *setting) []string { return []string{"runsvdir", s.path("services")} },
		stopSignal: unix.SIGHUP,
		statusOne:  func(s *setting) []string { return []string{"sv", "status", s.path("services", s.name(0))} },
		statusAll:  everyFolder("sv", "status"),
	}
}

func s6Kind() *kind {
	return &kind{
		name:    "s6",
		needs:   []string{"s6-svscan", "s6-supervise", "s6-svscanctl", "s6-svstat"},
		prepare: runFiles,
		command: func(s *setting) []string {
			return []string{"s6-svscan", "-c", strconv.Itoa(s.services + 10), s.path("services")}
		},
		stopCommand: func(s *setting) []string { return []string{"s6-svscanctl", "-t", s.path("services")} },
		statusOne:   func(s *setting) []string { return []string{"s6-svstat", s.path("services", s.name(0))} },
		throttled:   true,
		note:        "waits 1 s before every restart",
	}
}

func daemontoolsKind() *kind {
	return &kind{
		name:        "daemontools",
		needs:       []string{"svscan", "supervise", "svc", "svstat"},
		prepare:     runFiles,
		command:     func(s *setting) []string { return []string{"svscan", s.path("services")} },
		stopCommand: everyFolder("svc", "-dx"),
		endless:     true,
		statusOne:   func(s *setting) []string { return []string{"svstat", s.path("services", s.name(0))} },
		statusAll:   everyFolder("svstat"),
	}
}

func supervisorKind() *kind {
	return &kind{
		name:  "supervisor",
		needs: []string{"supervisord", "supervisorctl"},
		prepare: func(s *setting) error {
			var text strings.Builder
			fmt.Fprintf(&text, "[supervisord]\nlogfile=%s\npidfile=%s\nchildlogdir=%s\nminfds=16384\n",
				s.path("supervisord.log"), s.path("supervisord.pid"), s.dir)
			fmt.Fprintf(&text, "[unix_http_server]\nfile=%s\n", s.path("socket"))
			fmt.Fprintf(&text, "[supervisorctl]\nserverurl=unix://%s\n", s.path("socket"))
			text.WriteString("[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n")
			for slot := range s.services {
				fmt.Fprintf(&text, "[program:%s]\ncommand=%s %s %d\nautorestart=true\nstdout_logfile=NONE\nstderr_logfile=NONE\n",
					s.name(slot), s.programs.stamp, s.fifo, slot)
			}
			return writeFile(s.path("supervisord.conf"), text.String(), 0o644)
		},
		command:    func(s *setting) []string { return []string{"supervisord", "-n", "-c", s.path("supervisord.conf")} },
		stopSignal: unix.SIGTERM,
		statusOne: func(s *setting) []string {
			return []string{"supervisorctl", "-c", s.path("supervisord.conf"), "status", s.name(0)}
		},
		statusAll: func(s *setting) []string {
			return []string{"supervisorctl", "-c", s.path("supervisord.conf"), "status"}
		},
		throttled: true,
		note:      "looks once a second",
	}
}

// runFiles writes a folder with a run file for each service, the way of the
// daemontools family.
func runFiles(s *setting) error {
	return eachService(s, func(slot int) error {
		text := fmt.Sprintf("#!/bin/sh\nexec %s %s %d\n", s.programs.stamp, s.fifo, slot)
		return writeFile(s.path("services", s.name(slot), "run"), text, 0o755)
	})
}

// everyFolder is a command with all service folders as its last arguments.
func everyFolder(command ...string) func(s *setting) []string {
	return func(s *setting) []string {
		arguments := append([]string(nil), command...)
		for slot := range s.services {
			arguments = append(arguments, s.path("services", s.name(slot)))
		}
		return arguments
	}
}

func eachService(s *setting, write func(slot int) error) error {
	for slot := range s.services {
		if err := write(slot); err != nil {
			return err
		}
	}
	return nil
}

// writeFile writes a file and makes the folders above it.
func writeFile(path, text string, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), mode)
}
