package main

import (
	"fmt"
	"strconv"

	"github.com/abide-project/abide/internal/engine"
)

// flags is the engine's command line. People do not type it: abide writes it and
// the keeper passes it on, so it has no abbreviations and no defaults to guess.
type flags struct {
	run, state, log string
	mode            engine.Mode
	scope           string
	root            string
	config          []string
	names           []string
	console         bool
	color           bool
	exitOnFailure   bool
	lease           int
	main            []string
}

func parseFlags(args []string) (flags, error) {
	f := flags{mode: engine.ModeDaemon, scope: "system", lease: -1}
	for len(args) > 0 {
		name := args[0]
		args = args[1:]
		switch name {
		case "--console":
			f.console = true
			continue
		case "--color":
			f.color = true
			continue
		case "--exit-on-failure":
			f.exitOnFailure = true
			continue
		case "--main":
			if len(args) < 2 || args[0] != "--" {
				return f, fmt.Errorf("cannot read --main: it must be followed by -- and a command")
			}
			f.main = args[1:]
			return f, nil
		}
		if len(args) == 0 {
			return f, fmt.Errorf("cannot read %s: it has no value", name)
		}
		value := args[0]
		args = args[1:]
		switch name {
		case "--run":
			f.run = value
		case "--state":
			f.state = value
		case "--log":
			f.log = value
		case "--mode":
			f.mode = engine.Mode(value)
		case "--scope":
			f.scope = value
		case "--root":
			f.root = value
		case "--config":
			f.config = append(f.config, value)
		case "--name":
			f.names = append(f.names, value)
		case "--lease-fd":
			n, err := strconv.Atoi(value)
			if err != nil || n < 3 {
				return f, fmt.Errorf("cannot read --lease-fd %q: not a descriptor", value)
			}
			f.lease = n
		default:
			return f, fmt.Errorf("unknown flag %s", name)
		}
	}
	if f.run == "" {
		return f, fmt.Errorf("cannot start: --run is missing")
	}
	switch f.mode {
	case engine.ModeDaemon, engine.ModeInit, engine.ModeUp:
	default:
		return f, fmt.Errorf("unknown mode %q", f.mode)
	}
	return f, nil
}
