package spawn

import (
	"path"
	"strconv"
	"strings"
	"sync"
)

// local are the file systems that answer without asking another machine or
// another process. What is not here is taken to be able to hang.
var local = func() map[string]bool {
	names := "ext2 ext3 ext4 xfs btrfs bcachefs zfs f2fs jfs reiserfs nilfs2 minix ubifs jffs2 " +
		"tmpfs ramfs rootfs overlay aufs erofs squashfs iso9660 udf vfat msdos exfat ntfs3 hfsplus " +
		"proc sysfs devtmpfs devpts cgroup cgroup2 securityfs debugfs tracefs configfs bpf mqueue hugetlbfs pstore efivarfs binfmt_misc fusectl selinuxfs nsfs"
	set := map[string]bool{}
	for name := range strings.FieldsSeq(names) {
		set[name] = true
	}
	return set
}()

// Mounts knows which paths lie on a local file system, without touching them: a
// path on a dead server must not be looked at, not even to find that out.
type Mounts struct {
	mu     sync.Mutex
	source mountSource
	points map[string]bool // mount point: is it local
	remote bool            // some mount that a service would use is not local
}

// mountSource delivers mountinfo, see proc_pid_mountinfo(5).
type mountSource interface {
	// changed reports whether read would deliver something new.
	changed() bool
	read() (string, error)
	readlink(path string) (string, error)
}

// maxLinks is how many symbolic links a path may go through.
const maxLinks = 40

// Local reports whether path lies on a local file system. It follows symbolic
// links as long as they are on local ones themselves. Where mounts cannot be
// read (no /proc), everything counts as local.
func (m *Mounts) Local(p string) bool {
	if m == nil {
		return true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.points == nil || m.source.changed() {
		text, err := m.source.read()
		if err != nil {
			m.points = nil
			return true
		}
		m.points = parseMounts(text)
		m.remote = false
		for point, isLocal := range m.points {
			m.remote = m.remote || !isLocal && !kernels(point)
		}
	}
	if !path.IsAbs(p) || !m.remote && !kernels(p) {
		return true
	}
	return m.walk(path.Clean(p), maxLinks)
}

// kernels reports whether a path belongs to the kernel's own file systems, where
// many machines have an automount that nobody's program lies on.
func kernels(p string) bool {
	return strings.HasPrefix(p, "/proc/") || strings.HasPrefix(p, "/sys/")
}

// walk looks at each prefix of a clean path in turn. It touches only what it has
// found to be local.
func (m *Mounts) walk(p string, links int) bool {
	isLocal := true
	if is, ok := m.points["/"]; ok {
		isLocal = is
	}
	for end := 1; ; {
		if !isLocal {
			return false
		}
		if end >= len(p) {
			return true
		}
		next := strings.IndexByte(p[end:], '/')
		if next < 0 {
			next = len(p)
		} else {
			next += end
		}
		prefix := p[:next]
		if is, ok := m.points[prefix]; ok {
			isLocal = is
		} else if target, err := m.source.readlink(prefix); err == nil {
			if links == 0 {
				return true // the child will see ELOOP at once
			}
			if !path.IsAbs(target) {
				target = path.Join(path.Dir(prefix), target)
			}
			return m.walk(path.Join(target, p[next:]), links-1)
		}
		end = next + 1
	}
}

// parseMounts reads mountinfo. Of several mounts on one point the last is on top.
func parseMounts(text string) map[string]bool {
	points := map[string]bool{}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		for i := 6; i+1 < len(fields); i++ {
			if fields[i] == "-" {
				points[unescape(fields[4])] = local[fields[i+1]]
				break
			}
		}
	}
	return points
}

// unescape undoes the \040 of mountinfo.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
