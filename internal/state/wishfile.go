package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"syscall"
)

const (
	wishesName     = "wishes"
	wishesVersion  = "1"
	wishesMaxBytes = 64 << 20

	// spareLines is how many lines that no longer count a file may have, beyond as
	// many as count, before it is written anew.
	spareLines = 1000
)

// wishFile is one file of wishes: a line of JSON that describes the file, then a
// line for each service. A later line about a service replaces an earlier one, so
// that in the run directory a wish costs one small append, even for each of a
// thousand services at once. In the state directory the file is always written
// anew and synced.
type wishFile struct {
	dir     *Dir
	head    map[string]json.RawMessage
	lines   map[string]json.RawMessage // by service, without its name
	tail    *os.File                   // open for appending; nil until the file is as we want it
	size    int64
	written int // lines in the file
	unsaved bool
}

// loadWishFile always returns a file that can be used. One of another boot is
// empty.
func loadWishFile(dir *Dir, boot string) (*wishFile, error) {
	f := &wishFile{dir: dir}
	f.begin(boot)
	if dir == nil {
		return f, nil
	}
	data, err := dir.ReadFile(wishesName, wishesMaxBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return f, f.setAside(err)
	}
	head, lines, err := parseWishes(data)
	var storedBoot string
	if raw, ok := head["boot"]; ok && json.Unmarshal(raw, &storedBoot) != nil {
		err = errors.Join(err, errors.New("boot is not text"))
	}
	if storedBoot == boot {
		f.lines = lines
		if head != nil {
			f.head = head
		}
	}
	if err != nil {
		return f, f.keepCopy(data, dir.failed("understand", wishesName, err))
	}
	return f, nil
}

// keepCopy is setAside for what could be read: at no moment is there no file.
func (f *wishFile) keepCopy(data []byte, why error) error {
	if err := f.dir.WriteFile(wishesName+".bad", data, 0o600); err != nil {
		return errors.Join(why, err)
	}
	return errors.Join(fmt.Errorf("%w; it is kept as %s.bad", why, wishesName), f.rewrite())
}

func (f *wishFile) begin(boot string) {
	f.head = map[string]json.RawMessage{"version": json.RawMessage(wishesVersion)}
	if boot != "" {
		encoded, _ := json.Marshal(boot) // text always has a form
		f.head["boot"] = encoded
	}
	f.lines = make(map[string]json.RawMessage)
}

// setAside keeps a file that is not understood under another name and writes what
// was understood of it in its place.
func (f *wishFile) setAside(why error) error {
	if err := f.dir.SetAside(wishesName); err != nil {
		return errors.Join(why, err)
	}
	return errors.Join(fmt.Errorf("%w; it is kept as %s.bad", why, wishesName), f.rewrite())
}

// parseWishes returns what can be read. Only an unfinished last line, which a
// writer that was killed leaves, is no error.
func parseWishes(data []byte) (head map[string]json.RawMessage, lines map[string]json.RawMessage, err error) {
	lines = make(map[string]json.RawMessage)
	for number := 1; len(data) > 0; number++ {
		line, rest, whole := bytes.Cut(data, []byte("\n"))
		data = rest
		var fields map[string]json.RawMessage
		problem := json.Unmarshal(line, &fields)
		if problem == nil && fields == nil {
			problem = errors.New("it is null")
		}
		var name string
		if problem == nil && number > 1 {
			if problem = json.Unmarshal(fields["name"], &name); problem == nil && name == "" {
				problem = errors.New("it names no service")
			}
		}
		switch {
		case problem != nil && !whole && number > 1:
		case problem != nil:
			err = errors.Join(err, fmt.Errorf("line %d: %w", number, problem))
		case number == 1:
			head = fields
		default:
			delete(fields, "name")
			if len(fields) == 0 {
				delete(lines, name)
				continue
			}
			lines[name], _ = json.Marshal(fields) // it came from JSON
		}
	}
	if head == nil && err == nil {
		err = errors.New("it is empty")
	}
	return head, lines, err
}

// set replaces the fields of a service that this abide knows, or removes them, and
// stores the line.
func (f *wishFile) set(name string, value any, keep bool) error {
	fields := make(map[string]json.RawMessage)
	old, had := f.lines[name]
	if had {
		_ = json.Unmarshal(old, &fields) // it is an object: it was encoded here
	}
	for _, known := range wishFields {
		delete(fields, known)
	}
	if keep {
		encoded, err := json.Marshal(value)
		if err != nil {
			return fmt.Errorf("cannot encode the wish about %s: %w", name, err)
		}
		_ = json.Unmarshal(encoded, &fields)
	}
	if len(fields) == 0 {
		delete(f.lines, name)
	} else {
		f.lines[name], _ = json.Marshal(fields) // a map of JSON
	}
	err := f.store(name)
	if err != nil && f.dir.durable {
		// The next store must not write what was refused.
		delete(f.lines, name)
		if had {
			f.lines[name] = old
		}
	}
	return err
}

func (f *wishFile) store(name string) error {
	if f.dir == nil {
		return nil
	}
	f.unsaved = true
	var err error
	if f.tail != nil && f.written < 2*len(f.lines)+spareLines {
		err = f.append(name)
	} else {
		err = f.rewrite()
	}
	if err == nil {
		f.unsaved = false
	}
	return err
}

// append writes the line of one service behind the others.
func (f *wishFile) append(name string) error {
	line := wishLine(name, f.lines[name])
	n, err := f.tail.Write(line)
	if err == nil {
		f.size += int64(n)
		f.written++
		return nil
	}
	// The next line must not be glued to half of this one; the next store writes
	// the whole file.
	err = errors.Join(err, f.tail.Truncate(f.size), f.tail.Close())
	f.tail = nil
	return f.dir.failed("write", wishesName, err)
}

func (f *wishFile) rewrite() error {
	if f.tail != nil {
		f.tail.Close()
		f.tail = nil
	}
	data, err := f.encode()
	if err != nil {
		return f.dir.failed("write", wishesName, err)
	}
	if err := f.dir.WriteFile(wishesName, data, 0o600); err != nil {
		return err
	}
	if f.dir.durable {
		return nil
	}
	tail, err := f.dir.root.OpenFile(wishesName, os.O_WRONLY|os.O_APPEND|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return f.dir.failed("open", wishesName, err)
	}
	f.tail, f.size, f.written = tail, int64(len(data)), len(f.lines)
	return nil
}

func (f *wishFile) encode() ([]byte, error) {
	out, err := json.Marshal(f.head)
	if err != nil {
		return nil, err
	}
	out = append(out, '\n')
	for _, name := range slices.Sorted(maps.Keys(f.lines)) {
		out = append(out, wishLine(name, f.lines[name])...)
	}
	return out, nil
}

// wishLine puts the name in front of the fields of an encoded object; one without
// fields says that nothing is wished any more.
func wishLine(name string, fields json.RawMessage) []byte {
	encoded, _ := json.Marshal(name) // text always has a form
	line := append([]byte(`{"name":`), encoded...)
	if len(fields) <= len("{}") {
		return append(line, "}\n"...)
	}
	line = append(line, ',')
	line = append(line, fields[1:]...)
	return append(line, '\n')
}
