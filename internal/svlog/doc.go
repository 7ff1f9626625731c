// Package svlog takes what services write and keeps it in logs.
//
// A source is one stream of one run: a named FIFO in the run directory. A sink
// is one log file, or abide's own console. One Manager, on one thread, serves
// all of them; it holds no goroutine, no buffer and no timer per service.
//
// It promises that every byte taken from a FIFO stands in its log exactly once,
// whichever instruction the process is killed at: bytes are spliced into a stage
// file whose size says how many were taken, formatted with a stamp that stands in
// a shared journal, and written at an offset that stands there too, so that doing
// it again gives the same bytes at the same place. Bytes that a full disk does
// not accept are counted, and the count is written where they are missing. Not
// promised: what a power cut takes from the page cache.
//
// It must never end, block or slow down a program because of a log, unless the
// definition says when_full = "block"; it must never follow a path that a
// service's user controls with more rights than that user has.
package svlog
