package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Choice is an operator's answer to a question that the definition answers too.
type Choice uint8

// The choices.
const (
	Unset Choice = iota // as the definition says
	Yes
	No
)

// Wish is what operators want of one service against its definition.
type Wish struct {
	Enabled Choice // survives a reboot

	// The others are over with the boot they were given in.
	Stopped bool // held against triggers and dependents
	Started bool // runs although it is disabled

	Released Released // the process that lives on without abide

	By int       // the uid that gave the last wish
	At time.Time // and when
}

// Released names a process that was let go: by pid, by start time (field 22 of
// /proc/PID/stat) and by the run that it was. The zero value is none.
type Released struct {
	Pid   int    `json:"pid"`
	Start uint64 `json:"start"`
	Run   uint64 `json:"run"`
}

// Wishes holds the operators' wishes. Whether a service is enabled is kept in the
// state directory and survives a reboot; the rest is kept in the run directory.
//
// Fields that a later abide wrote are kept as they are. Its methods may be called
// from any goroutine.
type Wishes struct {
	mu      sync.Mutex
	enabled *wishFile
	orders  *wishFile
	wishes  map[string]Wish
	// readOnly: the state directory cannot be written, so the run directory holds
	// what belongs there.
	readOnly bool
}

// UntilReboot is the error of a wish that holds and that the next boot will not
// know, because the state directory cannot be written. It is returned once.
type UntilReboot struct{ Err error }

func (e UntilReboot) Error() string {
	return fmt.Sprintf("%v; whether services are enabled is kept until the next boot only", e.Err)
}

func (e UntilReboot) Unwrap() error { return e.Err }

// enabledJSON is what the state directory holds of a wish.
type enabledJSON struct {
	Enabled *bool     `json:"enabled,omitempty"`
	By      int       `json:"by"`
	At      time.Time `json:"at"`
}

// orderJSON is what the run directory holds of a wish.
type orderJSON struct {
	Stopped bool      `json:"stopped,omitempty"`
	Started bool      `json:"started,omitempty"`
	Release *Released `json:"released,omitempty"`
	Enabled *bool     `json:"enabled,omitempty"` // for want of a state directory
	By      int       `json:"by"`
	At      time.Time `json:"at"`
}

// wishFields are the fields of both.
var wishFields = []string{"enabled", "stopped", "started", "released", "by", "at"}

// LoadWishes reads the wishes. Both directories may be nil: then what would be
// stored there is kept in memory only. A file with something in it that cannot be
// understood is set aside as wishes.bad and, like every other failure, reported in
// problems; what could be read counts.
func LoadWishes(run, state *Dir, bootID string) (w *Wishes, problems []error) {
	w = &Wishes{wishes: make(map[string]Wish), readOnly: state == nil}
	var failed error
	if w.enabled, failed = loadWishFile(state, ""); failed != nil {
		problems = append(problems, failed)
	}
	if w.orders, failed = loadWishFile(run, bootID); failed != nil {
		problems = append(problems, failed)
	}
	for name, line := range w.enabled.lines {
		var stored enabledJSON
		if json.Unmarshal(line, &stored) != nil || stored.Enabled == nil {
			continue
		}
		w.wishes[name] = Wish{Enabled: choiceOf(*stored.Enabled), By: stored.By, At: stored.At}
	}
	for name, line := range w.orders.lines {
		var stored orderJSON
		if json.Unmarshal(line, &stored) != nil || !stored.Stopped && !stored.Started && stored.Enabled == nil {
			continue
		}
		wish := w.wishes[name]
		if stored.Enabled != nil {
			wish.Enabled = choiceOf(*stored.Enabled)
		}
		wish.Stopped, wish.Started = stored.Stopped, stored.Started
		if stored.Release != nil {
			wish.Released = *stored.Release
		}
		wish.By, wish.At = stored.By, stored.At
		w.wishes[name] = wish
	}
	return w, problems
}

// Get returns the wish about a service; the zero Wish when there is none.
func (w *Wishes) Get(name string) Wish {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.wishes[name]
}

// Names returns the names of all services about which there is a wish, sorted.
func (w *Wishes) Names() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Sorted(maps.Keys(w.wishes))
}

// Set stores the wish about a service; the zero Wish forgets it. When it cannot be
// stored that the service is enabled or not, nothing of the wish holds and the old
// one stands, here and in the file; but where the state directory is read-only, the
// run directory holds it, and the first such call returns UntilReboot. The rest of a wish holds all the same, because
// a full run directory must not keep anybody from stopping what fills it; the error
// then says that it will not survive, and the next call tries to store it again.
func (w *Wishes) Set(name string, wish Wish) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	wish.At = wish.At.UTC().Round(0)
	if wish.At.Year() > 9999 {
		wish.At = time.Time{} // a clock that is far off; such a time has no text form
	}
	old := w.wishes[name]
	var errs []error
	if old.Enabled != wish.Enabled || w.enabled.unsaved {
		err := w.enabled.set(name, enabledFields(wish), wish.Enabled != Unset)
		switch {
		case unwritable(err):
			if !w.readOnly {
				errs = append(errs, UntilReboot{err})
			}
			w.readOnly = true
		case err != nil && old.Enabled != wish.Enabled:
			return err
		}
	}
	if wish.Enabled == Unset && !wish.Stopped && !wish.Started {
		delete(w.wishes, name)
	} else {
		w.wishes[name] = wish
	}
	here := w.readOnly && wish.Enabled != Unset
	if old.Stopped != wish.Stopped || old.Started != wish.Started || old.Released != wish.Released || w.orders.unsaved ||
		w.readOnly && old.Enabled != wish.Enabled ||
		(wish.Stopped || wish.Started) && (old.By != wish.By || !old.At.Equal(wish.At)) {
		fields := orderJSON{Stopped: wish.Stopped, Started: wish.Started, By: wish.By, At: wish.At}
		if wish.Released != (Released{}) {
			fields.Release = &wish.Released
		}
		if here {
			enabled := wish.Enabled == Yes
			fields.Enabled = &enabled
		}
		errs = append(errs, w.orders.set(name, fields, wish.Stopped || wish.Started || here))
	}
	return errors.Join(errs...)
}

// unwritable tells a directory that nothing can be written to, whatever is done
// about it, from one that is full or on a disk with errors.
func unwritable(err error) bool {
	return errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EPERM)
}

func choiceOf(enabled bool) Choice {
	if enabled {
		return Yes
	}
	return No
}

func enabledFields(wish Wish) enabledJSON {
	enabled := wish.Enabled == Yes
	return enabledJSON{Enabled: &enabled, By: wish.By, At: wish.At}
}
