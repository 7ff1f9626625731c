package main

import (
	"context"
	"path/filepath"
	"strconv"
	"time"

	"github.com/abide-project/abide/internal/probe"
	"github.com/abide-project/abide/internal/sys/linepipe"
	"github.com/abide-project/abide/internal/sys/pathwatch"
)

// signs is package probe, and the pipes for readiness, as the engine's port.
type signs struct{ run string }

func (signs) TCP(address string, timeout time.Duration, done func(error)) func() {
	return ask(probe.TCP, address, timeout, done)
}

func (signs) HTTP(address string, timeout time.Duration, done func(error)) func() {
	return ask(probe.HTTP, address, timeout, done)
}

func ask(how func(context.Context, string) error, address string, timeout time.Duration, done func(error)) func() {
	ctx, cancel := probe.WithTimeout(context.Background(), timeout)
	go func() {
		defer cancel()
		done(how(ctx, address))
	}()
	return cancel
}

func (s signs) folder(name string) string { return filepath.Join(s.run, "services", name) }

func number(run uint64) string { return strconv.FormatUint(run, 10) }

func (s signs) MakePipe(name string, run uint64) (path string, fd int, err error) {
	return linepipe.Make(s.folder(name), number(run))
}

func (s signs) OpenPipe(name string, run uint64) (int, error) {
	return linepipe.Open(s.folder(name), number(run))
}

func (s signs) RemovePipe(name string, run uint64) { linepipe.Remove(s.folder(name), number(run)) }

func (signs) AwaitPipe(fd int, told func(line bool)) (func(), error) {
	return linepipe.Await(fd, told)
}

// paths is pathwatch.Watcher as the engine's port.
type paths struct{ *pathwatch.Watcher }

func (paths) Mark(path string) uint64 { return pathwatch.Mark(path) }
