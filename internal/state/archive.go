package state

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/abide-project/abide/internal/pack"
)

// Archive keeps the definitions that were in force, the last ArchiveKeeps of each
// service, in one file of the state directory. What Keep was given is there after
// a power cut once Keep has returned, and an interrupted Keep leaves those before
// it whole.
//
// The file is a head line and then records: length u32, CRC-32C u32, both little
// endian, and a packed Version. Its index is made when it is first asked for
// something, so an abide that nobody asks never reads it. Methods may be called
// from any goroutine.
type Archive struct {
	dir    *Dir // nil: nothing is kept
	report func(error)

	mu     sync.Mutex
	shelf  map[string][]place // by service, oldest first; nil: not read yet
	tail   *os.File           // for appending
	size   int64
	unused int64 // bytes of records that no shelf names any more
}

// Version is one definition that was in force.
type Version struct {
	Name   string
	Number uint64 // counts from 1 for each service; Keep gives it out
	At     time.Time
	By     int    // uid, NoOne when nobody asked
	Verb   string // what brought it into force
	Keys   []string
	Digest []byte // of Definition; Keep sets it
	// Definition is the packed definition. It names files of variables and
	// credentials and holds nothing of what is in them.
	Definition []byte
}

// NoOne is the uid of what nobody asked for.
const NoOne = -1

// ArchiveKeeps is how many definitions of one service are kept.
const ArchiveKeeps = 20

const (
	archiveName  = "snapshots"
	archiveHead  = "abide snapshots 1\n"
	archiveFront = 8
	archiveMost  = 64 << 20 // bytes of the file
	archiveItem  = 4 << 20
	// archiveSlack is how much of the file may be of no use before it is written
	// anew, beyond as much as is of use.
	archiveSlack = 1 << 20
)

// place is where a version stands in the file.
type place struct {
	number uint64
	at     int64 // of its record
	size   int32 // of its record
	digest [8]byte
}

// OpenArchive returns the archive of a state directory, which may be nil. Nothing
// is read yet; trouble of that is told to report.
func OpenArchive(dir *Dir, report func(error)) *Archive {
	return &Archive{dir: dir, report: report}
}

// Keep adds versions that differ from the last one of their service. Their Number
// and Digest are given here. When it fails none of them is kept.
func (a *Archive) Keep(list ...Version) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.ready(); err != nil {
		return err
	}
	var out []byte
	var places []place
	var names []string
	last := map[string]place{}
	for i := range list {
		v := list[i]
		sum := sha256.Sum256(v.Definition)
		v.Digest = sum[:]
		before, known := last[v.Name]
		if shelf := a.shelf[v.Name]; !known && len(shelf) > 0 {
			before, known = shelf[len(shelf)-1], true
		}
		if known && before.digest == short(v.Digest) {
			continue
		}
		v.Number = before.number + 1
		record := archiveRecord(&v)
		if len(record) > archiveItem {
			return a.dir.failed("write", archiveName, fmt.Errorf("the definition of %s has %d bytes", v.Name, len(record)))
		}
		p := place{v.Number, a.size + int64(len(out)), int32(len(record)), short(v.Digest)}
		out = append(out, record...)
		places, names, last[v.Name] = append(places, p), append(names, v.Name), p
	}
	if len(out) == 0 {
		return nil
	}
	if err := a.append(out); err != nil {
		return err
	}
	for i, p := range places {
		a.enter(names[i], p)
	}
	if a.unused > a.size/2+archiveSlack || a.size > archiveMost {
		// What was to be kept is kept: a file that is too long is no failure of that.
		if err := a.rewrite(ArchiveKeeps); err != nil {
			a.report(err)
		}
	}
	return nil
}

// List returns the versions of a service, oldest first.
func (a *Archive) List(name string) ([]Version, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.ready(); err != nil {
		return nil, err
	}
	var out []Version
	for _, p := range a.shelf[name] {
		v, err := a.read(p)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// Get returns one version of a service; fs.ErrNotExist when it is not kept.
func (a *Archive) Get(name string, number uint64) (Version, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.ready(); err != nil {
		return Version{}, err
	}
	for _, p := range a.shelf[name] {
		if p.number == number {
			return a.read(p)
		}
	}
	return Version{}, fs.ErrNotExist
}

// short is enough of a digest to tell two definitions of one service apart.
func short(digest []byte) [8]byte { return [8]byte(digest) }

// archived is a version as the file has it.
type archived struct {
	Name       string
	Number     uint64
	At         int64 // CLOCK_REALTIME, ns
	By         int
	Verb       string
	Keys       []string
	Digest     []byte
	Definition []byte
}

func archiveRecord(v *Version) []byte {
	body := pack.Append(make([]byte, archiveFront), &archived{v.Name, v.Number, v.At.UnixNano(), v.By, v.Verb, v.Keys, v.Digest, v.Definition})
	binary.LittleEndian.PutUint32(body, uint32(len(body)-archiveFront))
	binary.LittleEndian.PutUint32(body[4:], crc32.Checksum(body[archiveFront:], castagnoli))
	return body
}

// archiveVersion reads the record that data begins with; size is 0 when it is not
// whole.
func archiveVersion(data []byte) (v Version, size int) {
	if len(data) < archiveFront {
		return v, 0
	}
	n := binary.LittleEndian.Uint32(data)
	if n > archiveItem || uint64(n) > uint64(len(data)-archiveFront) {
		return v, 0
	}
	body := data[archiveFront : archiveFront+n]
	var r archived
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(data[4:]) || pack.Read(body, &r) != nil || r.Name == "" || len(r.Digest) < len(place{}.digest) {
		return v, 0
	}
	return Version{r.Name, r.Number, time.Unix(0, r.At).UTC(), r.By, r.Verb, r.Keys, r.Digest, r.Definition}, archiveFront + int(n)
}

// enter puts a version on its shelf, and takes the oldest off a full one.
func (a *Archive) enter(name string, p place) {
	shelf := append(a.shelf[name], p)
	for len(shelf) > ArchiveKeeps {
		a.unused += int64(shelf[0].size)
		shelf = shelf[1:]
	}
	a.shelf[name] = shelf
}

// ready reads the file when that was not done yet.
func (a *Archive) ready() error {
	if a.dir == nil {
		return ErrNoState
	}
	if a.shelf != nil {
		return nil
	}
	data, err := a.dir.ReadFile(archiveName, 2*archiveMost)
	if errors.Is(err, fs.ErrNotExist) {
		return a.begin()
	}
	if err != nil {
		return err
	}
	rest, whole := bytes.CutPrefix(data, []byte(archiveHead))
	if !whole {
		problem := a.dir.failed("understand", archiveName, errors.New("it does not begin like one"))
		if err := a.dir.SetAside(archiveName); err != nil {
			return errors.Join(problem, err)
		}
		a.report(fmt.Errorf("%w; it is kept as %s.bad", problem, archiveName))
		return a.begin()
	}
	shelf := map[string][]place{}
	a.shelf, a.unused = shelf, 0
	at := int64(len(archiveHead))
	for {
		v, size := archiveVersion(rest)
		if size == 0 {
			break
		}
		a.enter(v.Name, place{v.Number, at, int32(size), short(v.Digest)})
		at += int64(size)
		rest = rest[size:]
	}
	if err := a.open(at); err != nil {
		a.shelf = nil
		return err
	}
	if len(rest) > 0 {
		// What was being written when the power went; nothing was said of it.
		if err := a.tail.Truncate(at); err != nil {
			a.shelf = nil
			return a.dir.failed("truncate", archiveName, err)
		}
	}
	return nil
}

// begin makes an empty file.
func (a *Archive) begin() error {
	if err := a.dir.WriteFile(archiveName, []byte(archiveHead), 0o600); err != nil {
		return err
	}
	if err := a.open(int64(len(archiveHead))); err != nil {
		return err
	}
	a.shelf, a.unused = map[string][]place{}, 0
	return nil
}

func (a *Archive) open(size int64) error {
	f, err := a.dir.root.OpenFile(archiveName, os.O_RDWR|os.O_APPEND|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return a.dir.failed("open", archiveName, err)
	}
	if a.tail != nil {
		a.tail.Close()
	}
	a.tail, a.size = f, size
	return nil
}

func (a *Archive) append(data []byte) error {
	n, err := a.tail.Write(data)
	if err == nil {
		err = a.tail.Sync()
	}
	if err != nil {
		if n > 0 {
			err = errors.Join(err, a.tail.Truncate(a.size))
		}
		return a.dir.failed("write", archiveName, err)
	}
	a.size += int64(n)
	return nil
}

func (a *Archive) read(p place) (Version, error) {
	data := make([]byte, p.size)
	if _, err := a.tail.ReadAt(data, p.at); err != nil && err != io.EOF {
		return Version{}, a.dir.failed("read", archiveName, err)
	}
	v, size := archiveVersion(data)
	if size == 0 || v.Number != p.number {
		return Version{}, a.dir.failed("read", archiveName, fmt.Errorf("snapshot %d is damaged", p.number))
	}
	return v, nil
}

// rewrite leaves out what is of no use, and the older half of everything as often
// as the rest is too much.
func (a *Archive) rewrite(keep int) error {
	out := []byte(archiveHead)
	shelf := make(map[string][]place, len(a.shelf))
	for name, places := range a.shelf {
		for _, p := range places[max(0, len(places)-keep):] {
			data := make([]byte, p.size)
			if _, err := a.tail.ReadAt(data, p.at); err != nil {
				return a.dir.failed("read", archiveName, err)
			}
			p.at = int64(len(out))
			out = append(out, data...)
			shelf[name] = append(shelf[name], p)
		}
	}
	if len(out) > archiveMost/2 && keep > 1 {
		return a.rewrite(keep / 2)
	}
	if err := a.dir.WriteFile(archiveName, out, 0o600); err != nil {
		return err
	}
	a.shelf, a.unused = shelf, 0
	return a.open(int64(len(out)))
}
