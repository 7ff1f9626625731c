// Package pathwatch tells when a path appears, vanishes or is written, whatever
// part of it is missing, a link, or renamed meanwhile. All watches share one
// inotify descriptor and one goroutine, which sleeps while nothing happens; there
// is neither before somebody watches, and nothing is looked at by the clock.
//
// It tells too often rather than too seldom: who is told looks for himself. It
// opens no file and must not touch a path that Options.Local does not vouch for.
package pathwatch

// Options is what a Watcher may be given. All of it may be nil.
type Options struct {
	// Take returns an inotify descriptor that another process watched by, which is
	// the Watcher's then. Keep is given the one that the Watcher made when there was
	// none, for the next to take: the end of a process that has the last descriptor
	// of an inotify waits some 20 ms for the kernel.
	Take func() (int, error)
	Keep func(fd int)
	// Local reports whether looking at a path cannot hang. Changes on other
	// machines are told to nobody, so what is not local is refused.
	Local func(path string) bool
	// Report is told why a path cannot be watched any more, from any goroutine. Who
	// watches it is told as well, and it is tried again with each thing that happens
	// on the way there.
	Report func(error)
}
