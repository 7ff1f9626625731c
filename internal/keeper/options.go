//go:build linux && (amd64 || arm64)

package keeper

import (
	"github.com/abide-project/abide/internal/spawn/vspawn"
	"github.com/abide-project/abide/internal/sys/raw"
)

// Exit codes of the keeper itself.
const (
	exitFailed = 1   // it could not do its work
	exitUsage  = 100 // it was asked wrongly
	exitSystem = 111 // the system refused
)

const usage = "usage: abide-keeper --run RUN [--mode daemon|init|up] [--exec ABIDE-EXEC] [--lease-fd N] [--inherit-fd N] [--nofile SOFT:HARD] -- ENGINE [ARGUMENT]..."

type options struct {
	run     string
	mode    string
	exec    string
	lease   int       // -1: none
	inherit int       // the socket of the engine that hands over, -1: none
	nofile  [2]uint64 // limits of open descriptors for services; 0: those we were born with
	engine  []string
	path    string   // how we were called
	args    []string // and with what
	environ []string
	worst   vspawn.Rung // no better rung is used: for tests and measurements
}

// worstRung reads ABIDE_RUNG, which makes the keeper do with a worse way of
// making children than the kernel has.
func worstRung(environ []string) vspawn.Rung {
	for _, v := range environ {
		switch v {
		case "ABIDE_RUNG=clone":
			return vspawn.RungClone
		case "ABIDE_RUNG=fork":
			return vspawn.RungFork
		}
	}
	return vspawn.RungClone3
}

// parseOptions reads the command line (without the program's name). The text is
// what is wrong with it, or "".
func parseOptions(args []string) (options, string) {
	o := options{mode: "daemon", args: args, lease: -1, inherit: -1}
	for len(args) > 0 {
		name := args[0]
		if name == "--" {
			o.engine = args[1:]
			break
		}
		if len(args) < 2 {
			return o, "option " + name + " wants a value"
		}
		value := args[1]
		args = args[2:]
		switch name {
		case "--run":
			o.run = value
		case "--mode":
			if value != "daemon" && value != "init" && value != "up" {
				return o, "unknown mode " + value
			}
			o.mode = value
		case "--exec":
			o.exec = value
		case "--lease-fd":
			n, ok := raw.Number([]byte(value))
			if !ok || n < 3 || n > 1<<20 {
				return o, "bad lease descriptor " + value
			}
			o.lease = int(n)
		case "--inherit-fd":
			n, ok := raw.Number([]byte(value))
			if !ok || n < 3 || n > 1<<20 {
				return o, "bad inherited descriptor " + value
			}
			o.inherit = int(n)
		case "--nofile":
			var ok bool
			if o.nofile, ok = limits(value); !ok {
				return o, "bad limits of open descriptors " + value
			}
		default:
			return o, "unknown option " + name
		}
	}
	switch {
	case o.run == "" || o.run[0] != '/':
		return o, "--run wants an absolute path"
	case len(o.engine) == 0:
		return o, "no engine behind --"
	case o.inherit >= 0:
		// Its number is that of another process's table: the lease comes over the
		// socket.
		o.lease = -1
	}
	return o, ""
}

// limits reads SOFT:HARD.
func limits(text string) (l [2]uint64, ok bool) {
	for i := range text {
		if text[i] == ':' {
			soft, good := raw.Number([]byte(text[:i]))
			hard, fine := raw.Number([]byte(text[i+1:]))
			return [2]uint64{soft, hard}, good && fine && soft > 0 && soft <= hard
		}
	}
	return l, false
}
