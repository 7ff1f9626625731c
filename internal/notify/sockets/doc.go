// Package sockets makes the datagram sockets on which programs say how they are, one
// for each run, and reads them. A message is taken away only when its reader is done
// with it, so that one who dies in between leaves it to the next. It knows neither
// services nor what a message means: package notify reads that. No thread and no timer
// runs for it; a goroutine waits from the first socket on.
package sockets

import (
	"strconv"
	"strings"
)

// The names in the folder of the sockets.
const (
	folder   = "notify"
	keptName = ".state" // behind the name of a service: what is kept for it
)

// Key names a run.
type Key struct {
	Name string
	Run  uint64
}

func (k Key) file() string { return fileOf(k.Name) + "." + strconv.FormatUint(k.Run, 10) }

// fileOf is a name as that of a file. No service has a plus in its name.
func fileOf(name string) string { return strings.ReplaceAll(name, "/", "+") }
