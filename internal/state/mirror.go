package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"slices"
	"strings"
)

// Mirror says what lived when it was written: a copy, in the state directory, of
// what the run directory has in full. It is for the case that the run directory
// is lost, so it is at most a second old and may name a run that has ended since.
type Mirror struct {
	Boot    string // BootKey when it was written
	RunDir  string // path of the run directory
	ID      string // of the run directory, 16 hexadecimal digits
	Keeper  Process
	Written int64 // CLOCK_BOOTTIME, nanoseconds
	Runs    []MirrorRun
}

// Process names a process beyond its number.
type Process struct {
	Pid   int
	Start uint64 // field 22 of /proc/PID/stat
	Inode uint64 // of a pidfd, where that names the process (Linux 6.9); 0: not known
}

// MirrorRun is the main process of one run.
type MirrorRun struct {
	Name string
	Run  uint64
	Process
}

// The file, little endian: magic, version u16, then boot key, run directory and id
// as length u16 and bytes, keeper pid u32 and start u64, time of writing u64, number of
// runs u32; for each run its name as length u16 and bytes, run u64, pid u32, start
// u64, inode of the pidfd u64; last a CRC-32C of all before it, u32.
const (
	mirrorFile    = "mirror"
	mirrorMagic   = "abidemir"
	mirrorVersion = 1
	mirrorMaxRuns = MaxSnapshotEntries
	mirrorMaxSize = 8 << 20
	mirrorMaxText = 4096
)

// Encode returns the mirror as bytes, its runs sorted by name.
func (m *Mirror) Encode() []byte {
	le := binary.LittleEndian
	runs := slices.SortedFunc(slices.Values(m.Runs), func(a, b MirrorRun) int { return strings.Compare(a.Name, b.Name) })
	text := func(b []byte, s string) []byte {
		s = s[:min(len(s), mirrorMaxText)]
		return append(le.AppendUint16(b, uint16(len(s))), s...)
	}
	b := le.AppendUint16([]byte(mirrorMagic), mirrorVersion)
	b = text(text(text(b, m.Boot), m.RunDir), m.ID)
	b = le.AppendUint64(le.AppendUint32(b, uint32(m.Keeper.Pid)), m.Keeper.Start)
	b = le.AppendUint32(le.AppendUint64(b, uint64(m.Written)), uint32(len(runs)))
	for _, r := range runs {
		b = le.AppendUint64(text(b, r.Name), r.Run)
		b = le.AppendUint64(le.AppendUint64(le.AppendUint32(b, uint32(r.Pid)), r.Start), r.Inode)
	}
	return le.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

var errMirror = errors.New("it is damaged")

// DecodeMirror reads what Encode made. It accepts nothing else.
func DecodeMirror(data []byte) (*Mirror, error) {
	le := binary.LittleEndian
	version := len(mirrorMagic) + 2
	if len(data) < version+4 || string(data[:len(mirrorMagic)]) != mirrorMagic {
		return nil, errors.New("it is not a mirror")
	}
	if v := le.Uint16(data[len(mirrorMagic):]); v != mirrorVersion {
		return nil, fmt.Errorf("its version %d is not %d", v, mirrorVersion)
	}
	body, sum := data[:len(data)-4], le.Uint32(data[len(data)-4:])
	if crc32.Checksum(body, castagnoli) != sum {
		return nil, errMirror
	}
	in := mirrorReader{b: body[version:]}
	m := &Mirror{Boot: in.text(), RunDir: in.text(), ID: in.text()}
	m.Keeper.Pid, m.Keeper.Start = int(in.u32()), in.u64()
	m.Written = int64(in.u64())
	n := in.u32()
	if n > mirrorMaxRuns {
		return nil, errMirror
	}
	for range n {
		r := MirrorRun{Name: in.text(), Run: in.u64()}
		r.Pid, r.Start, r.Inode = int(in.u32()), in.u64(), in.u64()
		if in.short || r.Name == "" {
			return nil, errMirror
		}
		m.Runs = append(m.Runs, r)
	}
	if in.short || len(in.b) > 0 {
		return nil, errMirror
	}
	return m, nil
}

// mirrorReader reads from the front; after the first lack of bytes it returns
// zeros and remembers.
type mirrorReader struct {
	b     []byte
	short bool
}

func (r *mirrorReader) take(n int) []byte {
	if r.short || len(r.b) < n {
		r.short = true
		return make([]byte, min(n, 8))
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *mirrorReader) u16() uint16 { return binary.LittleEndian.Uint16(r.take(2)) }
func (r *mirrorReader) u32() uint32 { return binary.LittleEndian.Uint32(r.take(4)) }
func (r *mirrorReader) u64() uint64 { return binary.LittleEndian.Uint64(r.take(8)) }

func (r *mirrorReader) text() string {
	n := int(r.u16())
	if r.short || n > mirrorMaxText {
		r.short = true
		return ""
	}
	return string(r.take(n))
}

// FindMirror is ReadMirror for who has not opened the state directory and must not
// make it. Without one there is no mirror.
func FindMirror(stateDir, boot, runDir string) (*Mirror, error) {
	if _, err := os.Lstat(stateDir); isMissing(err) {
		return nil, nil
	}
	d, err := openMade(stateDir, 0, false)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.ReadMirror(boot, runDir)
}

// ReadMirror reads the mirror of a state directory. It is nil without an error when
// there is none, or one of another boot or of another run directory: that one says
// nothing about what lives.
func (d *Dir) ReadMirror(boot, runDir string) (*Mirror, error) {
	data, err := d.ReadFile(mirrorFile, mirrorMaxSize)
	if isMissing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	m, err := DecodeMirror(data)
	if err != nil {
		return nil, d.failed("use", mirrorFile, err)
	}
	if m.Boot != boot || m.RunDir != runDir {
		return nil, nil
	}
	return m, nil
}
