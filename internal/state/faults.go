package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"sync"
	"time"
)

// Fault is why a service is not started any more.
type Fault struct {
	Cause      string    `json:"cause"`  // the rule that it met, a word of package core
	Reason     string    `json:"reason"` // what went wrong, for people
	Run        uint64    `json:"run"`    // the run that ended last, 0: none did
	Exit       FaultExit `json:"exit"`   // and how it ended
	At         time.Time `json:"at"`
	Definition string    `json:"definition"` // a digest of what it was started by
	Output     []string  `json:"output,omitempty"`
	Boot       string    `json:"boot"` // set by Faults
}

// FaultExit is how a run ended.
type FaultExit struct {
	Status uint32 `json:"status"` // as wait(2) has it
	Known  bool   `json:"known"`  // somebody saw it
	OOM    bool   `json:"oom,omitempty"`
	At     int64  `json:"at"` // CLOCK_REALTIME, nanoseconds
}

// Faults holds the faults of services in the state directory, where they survive a
// reboot. Its methods may be called from any goroutine.
type Faults struct {
	dir  *Dir
	boot string

	saving sync.Mutex // held over a write, so that the newest is written last
	mu     sync.Mutex
	faults map[string]Fault
	dirty  bool
}

const (
	faultsFile    = "faults"
	faultsVersion = 1
	maxFaults     = 64 << 20
)

type faultsJSON struct {
	Version int              `json:"version"`
	Faults  map[string]Fault `json:"faults"`
}

// LoadFaults reads what Save wrote last. It always returns Faults that can be used; a
// file that makes no sense is kept as faults.bad, and err says so. Without a
// directory nothing is stored.
func LoadFaults(dir *Dir, boot string) (f *Faults, err error) {
	f = &Faults{dir: dir, boot: boot, faults: map[string]Fault{}}
	if dir == nil {
		return f, nil
	}
	data, err := dir.ReadFile(faultsFile, maxFaults)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return f, dir.failed("read", faultsFile, err)
	}
	var file faultsJSON
	err = json.Unmarshal(data, &file)
	if err == nil && file.Version != faultsVersion {
		err = fmt.Errorf("version %d, not %d", file.Version, faultsVersion)
	}
	if err != nil {
		return f, errors.Join(dir.failed("understand", faultsFile, err), dir.SetAside(faultsFile))
	}
	maps.Copy(f.faults, file.Faults)
	return f, nil
}

// Get returns the fault of a service. sameBoot reports whether it met it since the
// machine was started.
func (f *Faults) Get(name string) (fault Fault, sameBoot, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fault, ok = f.faults[name]
	return fault, ok && fault.Boot == f.boot, ok
}

// Set notes the fault of a service, nil forgets it, and reports whether there is
// anything new for Save to store.
func (f *Faults) Set(name string, fault *Fault) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, had := f.faults[name]; fault == nil && !had {
		return false
	}
	f.dirty = true
	if fault == nil {
		delete(f.faults, name)
		return true
	}
	now := *fault
	now.Boot = f.boot
	now.At = now.At.UTC().Round(0)
	if now.At.Year() > 9999 {
		now.At = time.Time{} // a clock that is far off; such a time has no text form
	}
	f.faults[name] = now
	return true
}

// Save stores what Set noted, across a power cut as well: the old file or the new one
// is there. When it fails, the next call tries again.
func (f *Faults) Save() error {
	f.saving.Lock()
	defer f.saving.Unlock()
	f.mu.Lock()
	dirty := f.dirty
	f.dirty = false
	data, err := json.Marshal(faultsJSON{faultsVersion, f.faults})
	f.mu.Unlock()
	if !dirty || f.dir == nil {
		return nil
	}
	if err == nil {
		err = f.dir.WriteFile(faultsFile, append(data, '\n'), 0o600)
	}
	if err != nil {
		f.mu.Lock()
		f.dirty = true
		f.mu.Unlock()
	}
	return err
}
