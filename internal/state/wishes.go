package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"time"
)

// Order is what an operator last told a service to do, until the next boot.
type Order string

// The orders.
const (
	OrderNone    Order = ""        // nobody said anything
	OrderStarted Order = "started" // beats disabled until the next boot
	OrderOnce    Order = "once"    // as OrderStarted, without restart
	OrderStopped Order = "stopped" // holds it against triggers and dependents
)

// Mark says who wished and when.
type Mark struct {
	UID int       `json:"uid"`
	PID int       `json:"pid"`
	At  time.Time `json:"at"`
}

// Wish is what operators want of one service against its definition.
type Wish struct {
	Enabled   *bool // nil: as the definition says
	EnabledBy Mark
	Order     Order
	OrderBy   Mark
}

// Wishes holds the operators' wishes. Whether a service is enabled is kept in the
// state directory and survives a reboot; whether it is held stopped or started is
// kept in the run directory and is over with the boot it was given in.
//
// Fields that a later abide wrote are kept as they are. Its methods may be called
// from any goroutine.
type Wishes struct {
	mu      sync.Mutex
	enabled *wishFile
	orders  *wishFile
	wishes  map[string]Wish
}

const (
	wishesFile     = "wishes"
	wishesVersion  = 1
	wishesMaxBytes = 64 << 20
)

// LoadWishes reads the wishes. Both directories may be nil: then what would be
// stored there is kept in memory only. A file that cannot be understood is set
// aside as wishes.bad and, like every other failure, reported in problems; what
// could be read counts.
func LoadWishes(run, state *Dir, bootID string) (w *Wishes, problems []error) {
	w = &Wishes{wishes: make(map[string]Wish)}
	var err error
	if w.enabled, err = loadWishFile(state, ""); err != nil {
		problems = append(problems, err)
	}
	if w.orders, err = loadWishFile(run, bootID); err != nil {
		problems = append(problems, err)
	}
	for name, raw := range w.enabled.services {
		var stored enabledJSON
		if json.Unmarshal(raw, &stored) == nil && stored.Enabled != nil {
			wish := w.wishes[name]
			wish.Enabled, wish.EnabledBy = stored.Enabled, stored.Mark
			w.wishes[name] = wish
		}
	}
	for name, raw := range w.orders.services {
		var stored orderJSON
		if json.Unmarshal(raw, &stored) != nil {
			continue
		}
		switch stored.Order {
		case OrderStarted, OrderOnce, OrderStopped:
			wish := w.wishes[name]
			wish.Order, wish.OrderBy = stored.Order, stored.Mark
			w.wishes[name] = wish
		}
	}
	return w, problems
}

type enabledJSON struct {
	Enabled *bool `json:"enabled,omitempty"`
	Mark
}

type orderJSON struct {
	Order Order `json:"order,omitempty"`
	Mark
}

// Get returns the wish about a service; the zero Wish when there is none.
func (w *Wishes) Get(name string) Wish {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.wishes[name].clone()
}

// Names returns the names of all services about which there is a wish, sorted.
func (w *Wishes) Names() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Sorted(maps.Keys(w.wishes))
}

func (w Wish) clone() Wish {
	if w.Enabled != nil {
		enabled := *w.Enabled
		w.Enabled = &enabled
	}
	return w
}

// Change is a set of wishes that are stored together.
type Change struct {
	w               *Wishes
	enabled, orders bool
}

// SetEnabled overrides the definition's enabled; nil takes the override back.
func (c *Change) SetEnabled(name string, enabled *bool, by Mark) {
	wish := c.w.wishes[name]
	wish.Enabled, wish.EnabledBy = enabled, by
	if enabled == nil {
		wish.EnabledBy = Mark{}
	}
	c.w.put(name, wish.clone())
	c.w.enabled.set(name, enabledJSON{Enabled: enabled, Mark: by}, enabled != nil)
	c.enabled = true
}

// SetOrder stores what an operator ordered; OrderNone forgets it.
func (c *Change) SetOrder(name string, order Order, by Mark) {
	wish := c.w.wishes[name]
	wish.Order, wish.OrderBy = order, by
	if order == OrderNone {
		wish.OrderBy = Mark{}
	}
	c.w.put(name, wish)
	c.w.orders.set(name, orderJSON{Order: order, Mark: by}, order != OrderNone)
	c.orders = true
}

// Forget removes every wish about a service.
func (c *Change) Forget(name string) {
	delete(c.w.wishes, name)
	c.w.enabled.forget(name)
	c.w.orders.forget(name)
	c.enabled, c.orders = true, true
}

// Update lets fn change wishes and then writes each file that was touched once.
// The wishes hold at once and in memory even when they cannot be stored; the
// error then says that they do not survive. The next Update tries again.
func (w *Wishes) Update(fn func(*Change)) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := Change{w: w}
	fn(&c)
	var errs []error
	if c.enabled || w.enabled.unsaved {
		errs = append(errs, w.enabled.store())
	}
	if c.orders || w.orders.unsaved {
		errs = append(errs, w.orders.store())
	}
	return errors.Join(errs...)
}

// SetEnabled is Update with one override.
func (w *Wishes) SetEnabled(name string, enabled *bool, by Mark) error {
	return w.Update(func(c *Change) { c.SetEnabled(name, enabled, by) })
}

// SetOrder is Update with one order.
func (w *Wishes) SetOrder(name string, order Order, by Mark) error {
	return w.Update(func(c *Change) { c.SetOrder(name, order, by) })
}

func (w *Wishes) put(name string, wish Wish) {
	if wish == (Wish{}) {
		delete(w.wishes, name)
		return
	}
	w.wishes[name] = wish
}

// wishFile is one of the two files: its services, encoded, and every other field
// of it as it was read. Entries stay encoded so that storing one wish among
// thousands copies bytes and encodes one entry.
type wishFile struct {
	dir      *Dir
	boot     string
	services map[string]json.RawMessage
	other    map[string]json.RawMessage
	unsaved  bool
}

// loadWishFile always returns a file that can be used; one of another boot is
// empty.
func loadWishFile(dir *Dir, boot string) (*wishFile, error) {
	f := &wishFile{
		dir:      dir,
		boot:     boot,
		services: make(map[string]json.RawMessage),
		other:    make(map[string]json.RawMessage),
	}
	if dir == nil {
		return f, nil
	}
	data, err := dir.ReadFile(wishesFile, wishesMaxBytes)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return f, nil
	case err != nil:
		return f, f.setAside(err)
	}
	services, other, storedBoot, err := parseWishes(data)
	if err != nil {
		return f, f.setAside(dir.failed("understand", wishesFile, err))
	}
	if storedBoot == boot {
		f.services, f.other = services, other
	}
	return f, nil
}

func (f *wishFile) setAside(why error) error {
	if err := f.dir.SetAside(wishesFile); err != nil {
		return errors.Join(why, err)
	}
	return fmt.Errorf("%w; it is kept as %s.bad", why, wishesFile)
}

func parseWishes(data []byte) (services, other map[string]json.RawMessage, boot string, err error) {
	if err := json.Unmarshal(data, &other); err != nil {
		return nil, nil, "", err
	}
	if other == nil {
		return nil, nil, "", errors.New("it is null")
	}
	if raw, ok := other["services"]; ok {
		if err := json.Unmarshal(raw, &services); err != nil {
			return nil, nil, "", fmt.Errorf("services: %w", err)
		}
	}
	if services == nil {
		services = make(map[string]json.RawMessage)
	}
	for name, raw := range services {
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(raw, &fields); err != nil || fields == nil {
			return nil, nil, "", fmt.Errorf("service %q is not an object", name)
		}
	}
	if raw, ok := other["boot"]; ok {
		if err := json.Unmarshal(raw, &boot); err != nil {
			return nil, nil, "", fmt.Errorf("boot: %w", err)
		}
	}
	for _, known := range []string{"services", "boot"} {
		delete(other, known)
	}
	return services, other, boot, nil
}

// set stores the fields of value in the entry of name and keeps every field that
// value does not know. Without keep its fields are removed.
func (f *wishFile) set(name string, value any, keep bool) {
	fields := make(map[string]json.RawMessage)
	if old, ok := f.services[name]; ok {
		// Entries were checked when they were read, or encoded here.
		_ = json.Unmarshal(old, &fields)
	}
	for _, known := range []string{"enabled", "order", "uid", "pid", "at"} {
		delete(fields, known)
	}
	if keep {
		encoded, err := json.Marshal(value)
		if err != nil {
			// Only a year beyond 9999 in Mark.At comes here.
			encoded = []byte("{}")
		}
		_ = json.Unmarshal(encoded, &fields)
	}
	if len(fields) == 0 {
		delete(f.services, name)
		return
	}
	encoded, _ := json.Marshal(fields)
	f.services[name] = encoded
}

func (f *wishFile) forget(name string) { delete(f.services, name) }

func (f *wishFile) store() error {
	if f.dir == nil {
		return nil
	}
	f.unsaved = true
	if err := f.dir.WriteFile(wishesFile, f.encode(), 0o600); err != nil {
		return err
	}
	f.unsaved = false
	return nil
}

// encode writes the file by hand around the encoded entries: one line each, so
// that a person can read it and a difference is small.
func (f *wishFile) encode() []byte {
	out := []byte("{")
	field := func(name string, value []byte) {
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(out, '\n')
		out = appendJSON(out, name)
		out = append(out, ": "...)
		out = append(out, value...)
	}
	if _, ok := f.other["version"]; !ok {
		field("version", appendJSON(nil, wishesVersion))
	}
	if f.boot != "" {
		field("boot", appendJSON(nil, f.boot))
	}
	for _, name := range slices.Sorted(maps.Keys(f.other)) {
		field(name, f.other[name])
	}
	services := []byte("{")
	for i, name := range slices.Sorted(maps.Keys(f.services)) {
		if i > 0 {
			services = append(services, ',')
		}
		services = append(services, "\n  "...)
		services = appendJSON(services, name)
		services = append(services, ": "...)
		services = append(services, f.services[name]...)
	}
	field("services", append(services, "\n}"...))
	return append(out, "\n}\n"...)
}

func appendJSON(out []byte, value any) []byte {
	encoded, err := json.Marshal(value)
	if err != nil {
		panic("internal error: a plain value cannot be encoded: " + err.Error())
	}
	return append(out, encoded...)
}
