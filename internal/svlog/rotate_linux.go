package svlog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// rotateRetry is how long a log that could not be rotated grows on before it is
// tried again.
const rotateRetry = 10 * time.Second

// rotateIfDue rotates a log that has reached its size or age and stands at the
// end of a line. A line that alone is as long as a whole log is cut.
func (m *Manager) rotateIfDue(k *sink, now time.Time, mono time.Duration) {
	size, limit := k.rec.place.offset.Load(), k.rec.limit.Load()
	if limit > 0 && size >= limit && (k.rec.place.open.Load() == 0 || size >= 2*limit) {
		m.rotate(k, now, mono)
		return
	}
	if k.rules.every > 0 && k.rec.place.open.Load() == 0 && k.age(now) >= k.rules.every {
		m.rotate(k, now, mono)
	}
}

// age is how long ago the log was begun. A clock that was set back makes it young.
func (k *sink) age(now time.Time) time.Duration {
	born := int64(k.rec.born.Load())
	if born == 0 || k.rec.place.offset.Load() == 0 {
		return 0
	}
	if born > now.UnixNano() {
		k.rec.born.Store(uint64(now.UnixNano()))
		return 0
	}
	return time.Duration(now.UnixNano() - born)
}

// rotate gives the log its lasting name and begins a new one. The name stands in
// the record before anything is done, so that a kill leaves it to be done, or
// undone, by the next Manager.
func (m *Manager) rotate(k *sink, now time.Time, mono time.Duration) {
	if k.fd < 0 || mono < k.rotateAt || k.rec.place.offset.Load() == 0 {
		return
	}
	k.rotateAt = mono
	// The name comes after all stamps in the file, so that a reader can tell by
	// it where a time is; but not where the clock was set back by much.
	stamp := max(now.UnixNano(), int64(k.rec.rotated.Load())+1)
	if last := int64(k.rec.place.last.Load()); last >= stamp && last-stamp < int64(time.Second) {
		stamp = last + 1
	}
	k.rec.rotating.Store(uint64(stamp))
	at("rotation begun")
	err := m.rotateFile(k, stamp, now)
	if err != nil {
		k.rec.rotating.Store(0)
		k.rotateAt = mono + rotateRetry
		m.reportOnce(k, "rotate", fmt.Sprintf("cannot rotate log %s: %v; it grows on", k.path, reason(err)))
		return
	}
	m.tidy(k, now, mono)
}

func (m *Manager) rotateFile(k *sink, stamp int64, now time.Time) error {
	dirPath, base := splitPath(k.path)
	dir, err := openDir(dirPath, k.hostile)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	name := rotatedName(base, stamp)
	fresh := name + suffixNew

	// The new file is made first: without one, there is no rotation.
	unix.Unlinkat(dir, fresh, 0)
	fd, _, err := openLog(dir, fresh, 0o640, k.uid, k.gid)
	if err != nil {
		return err
	}
	at("rotation: new file")
	if open := k.rec.place.open.Load(); open != 0 && (k.rules.form.stamp != 2 || k.rules.json) {
		if _, _, err := m.writeLog(k.fd, newline, int64(k.rec.place.offset.Load()), false); err != nil {
			unix.Close(fd)
			unix.Unlinkat(dir, fresh, 0)
			return err
		}
		at("rotation: line ended")
	}
	err = renameNew(dir, base, name)
	if err != nil {
		unix.Close(fd)
		unix.Unlinkat(dir, fresh, 0)
		return err
	}
	at("rotation: renamed")
	if err := renameNew(dir, fresh, base); err != nil && err != unix.EEXIST {
		unix.Close(fd)
		renameNew(dir, name, base)
		unix.Unlinkat(dir, fresh, 0)
		return err
	}
	at("rotation: new file named")
	return k.adopt(fd, stamp, now)
}

// renameNew renames within a folder and never replaces anything.
func renameNew(dir int, from, to string) error {
	err := unix.Renameat2(dir, from, dir, to, unix.RENAME_NOREPLACE)
	if err == unix.EINVAL || err == unix.ENOSYS {
		var st unix.Stat_t
		if unix.Fstatat(dir, to, &st, unix.AT_SYMLINK_NOFOLLOW) == nil {
			return unix.EEXIST
		}
		return unix.Renameat(dir, from, dir, to)
	}
	return err
}

// adopt makes fd, the file that now has the log's name, its file. Every step may
// be done again until rotating is cleared.
func (k *sink) adopt(fd int, stamp int64, now time.Time) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return err
	}
	if k.fd >= 0 {
		unix.Close(k.fd)
	}
	k.fd = fd
	k.rec.dev.Store(st.Dev)
	k.rec.ino.Store(st.Ino)
	at("rotation: inode recorded")
	k.rec.place.offset.Store(uint64(st.Size))
	k.rec.place.open.Store(k.openAt(st.Size))
	k.rec.born.Store(uint64(now.UnixNano()))
	k.rec.rotated.Store(uint64(stamp))
	at("rotation: place recorded")
	k.rec.rotating.Store(0)
	at("rotation ended")
	return nil
}

// rotateAgain completes, or takes back, a rotation that a kill interrupted.
func (m *Manager) rotateAgain(k *sink, now time.Time) error {
	stamp := int64(k.rec.rotating.Load())
	dirPath, base := splitPath(k.path)
	dir, err := openDir(dirPath, k.hostile)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	name := rotatedName(base, stamp)
	var st unix.Stat_t
	if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		unix.Unlinkat(dir, name+suffixNew, 0)
		if open := k.rec.place.open.Load(); open != 0 && err == unix.ENOENT {
			// Its line may have been ended already. Cut that off: the line is
			// still the source's to go on with.
			if fd, _, err := openLog(dir, base, 0o640, k.uid, k.gid); err == nil {
				if unix.Fstat(fd, &st) == nil && st.Ino == k.rec.ino.Load() && uint64(st.Size) == k.rec.place.offset.Load()+1 {
					unix.Ftruncate(fd, st.Size-1)
				}
				unix.Close(fd)
			}
		}
		k.rec.rotating.Store(0)
		return nil
	}
	if err := renameNew(dir, name+suffixNew, base); err == unix.EEXIST {
		unix.Unlinkat(dir, name+suffixNew, 0)
	}
	fd, _, err := openLog(dir, base, 0o640, k.uid, k.gid)
	if err != nil {
		return err
	}
	return k.adopt(fd, stamp, now)
}

// tidy applies the rules of retention to the rotated logs, asks for those to be
// compressed that are not, and removes what interrupted compressions left.
func (m *Manager) tidy(k *sink, now time.Time, mono time.Duration) {
	k.sweepAt = 0
	k.attached = true
	dirPath, base := splitPath(k.path)
	dir, err := openDir(dirPath, k.hostile)
	if err != nil {
		return
	}
	f := os.NewFile(uintptr(dir), dirPath)
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return
	}
	var logs []rotatedLog
	var total int64
	for _, name := range names {
		log, tmp, ok := parseRotated(base, name)
		if !ok {
			continue
		}
		if tmp {
			removeStale(dir, name)
			continue
		}
		var st unix.Stat_t
		if unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
			continue
		}
		log.size = st.Blocks * 512
		if !log.packed {
			log.size = st.Size
		}
		logs = append(logs, log)
		total += log.size
	}
	sortRotated(logs)
	logs = dropTwins(dir, logs, &total)

	keepFrom := 0
	for i, log := range logs {
		left := len(logs) - i
		tooMany := k.rules.keep > 0 && left > k.rules.keep
		tooOld := k.rules.keepFor > 0 && now.UnixNano()-log.time >= int64(k.rules.keepFor)
		tooMuch := k.rules.keepTotal > 0 && total > k.rules.keepTotal
		if !tooMany && !tooOld && !tooMuch {
			break
		}
		if err := unix.Unlinkat(dir, log.name, 0); err != nil && err != unix.ENOENT {
			m.reportOnce(k, "remove", fmt.Sprintf("cannot remove old log %s: %v", filepath.Join(dirPath, log.name), err))
			break
		}
		total -= log.size
		keepFrom = i + 1
	}
	logs = logs[keepFrom:]
	if len(logs) > 0 && k.rules.keepFor > 0 {
		k.sweepAt = mono + time.Duration(logs[0].time) + k.rules.keepFor - time.Duration(now.UnixNano())
		m.deadline(k.sweepAt)
	}
	if k.rules.zstd && m.opt.Compress != nil {
		for _, log := range logs {
			if !log.packed {
				m.opt.Compress(filepath.Join(dirPath, log.name))
			}
		}
	}
}

// dropTwins removes the plain form of logs that are there compressed as well: the
// compressed one got its name only when it was whole and on disk.
func dropTwins(dir int, logs []rotatedLog, total *int64) []rotatedLog {
	kept := logs[:0]
	for i, log := range logs {
		if i+1 < len(logs) && logs[i+1].time == log.time && !log.packed && logs[i+1].packed {
			if err := unix.Unlinkat(dir, log.name, 0); err == nil || errors.Is(err, unix.ENOENT) {
				*total -= log.size
				continue
			}
		}
		kept = append(kept, log)
	}
	return kept
}

// removeStale removes what a compression left, unless one is at it now.
func removeStale(dir int, name string) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) == nil {
		unix.Unlinkat(dir, name, 0)
	}
}
