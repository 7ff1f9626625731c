//go:build linux

package waitset

import (
	"context"
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func pipe(t *testing.T) (r, w int) {
	t.Helper()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(p[0]); unix.Close(p[1]) })
	return p[0], p[1]
}

func newSet(t *testing.T) *Set {
	t.Helper()
	s, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestADescriptorThatBecomesReadyEndsTheWait(t *testing.T) {
	s := newSet(t)
	r, w := pipe(t)
	if err := s.Add(r, Readable); err != nil {
		t.Fatal(err)
	}
	go unix.Write(w, []byte{1})
	for range 3 { // it stays ready until it is read
		ready, err := s.Wait(context.Background(), time.Time{})
		if err != nil || len(ready) != 1 || ready[0] != r {
			t.Fatalf("ready are %v, %v, want %d", ready, err, r)
		}
	}
	s.Remove(r)
	if ready, err := s.Wait(context.Background(), time.Now()); err != nil || len(ready) != 0 {
		t.Errorf("a removed descriptor is ready: %v, %v", ready, err)
	}
}

func TestADeadlineAndAContextEndTheWait(t *testing.T) {
	s := newSet(t)
	r, w := pipe(t)
	if err := s.Add(r, Readable); err != nil {
		t.Fatal(err)
	}
	if ready, err := s.Wait(context.Background(), time.Now().Add(time.Millisecond)); err != nil || len(ready) != 0 {
		t.Errorf("after the deadline: %v, %v", ready, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go cancel()
	if ready, err := s.Wait(ctx, time.Time{}); !errors.Is(err, context.Canceled) || len(ready) != 0 {
		t.Errorf("after the context: %v, %v", ready, err)
	}
	// A set whose wait was cut short is good for another.
	unix.Write(w, []byte{1})
	if ready, err := s.Wait(context.Background(), time.Time{}); err != nil || len(ready) != 1 {
		t.Errorf("after that: %v, %v", ready, err)
	}
}
