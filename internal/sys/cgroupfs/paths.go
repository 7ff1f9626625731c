// Package cgroupfs finds the control group hierarchies of a system and works on
// directories in them, by descriptors (cgroups(7)). It knows files, not services.
package cgroupfs

import (
	"bytes"
	"path"
	"slices"
	"strings"
)

// V2 names the unified hierarchy among the hierarchies of a process.
const V2 = ""

// Mount is one mounted hierarchy.
type Mount struct {
	Point       string
	Root        string   // the part of the hierarchy that is visible at Point
	Hierarchies []string // V2, or the controllers and "name=..." of a version 1 one
}

// ParseMounts returns the hierarchies in the content of a mountinfo file
// (proc_pid_mountinfo(5)).
func ParseMounts(mountinfo []byte) []Mount {
	var mounts []Mount
	for line := range bytes.Lines(mountinfo) {
		before, after, ok := strings.Cut(strings.TrimSuffix(string(line), "\n"), " - ")
		if !ok {
			continue
		}
		left, right := strings.Fields(before), strings.Fields(after)
		if len(left) < 5 || len(right) < 1 {
			continue
		}
		m := Mount{Root: unescape(left[3]), Point: unescape(left[4])}
		switch right[0] {
		case "cgroup2":
			m.Hierarchies = []string{V2}
		case "cgroup":
			if len(right) < 3 {
				continue
			}
			for _, option := range strings.Split(right[len(right)-1], ",") {
				switch option {
				case "", "rw", "ro", "none", "xattr", "noprefix", "clone_children", "cpuset_v2_mode":
				default:
					m.Hierarchies = append(m.Hierarchies, option)
				}
			}
		default:
			continue
		}
		mounts = append(mounts, m)
	}
	return mounts
}

// unescape replaces the octal escapes of mountinfo (\040 for a space).
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && isOctal(s[i+1]) && isOctal(s[i+2]) && isOctal(s[i+3]) {
			out.WriteByte((s[i+1]-'0')<<6 | (s[i+2]-'0')<<3 | (s[i+3] - '0'))
			i += 3
			continue
		}
		out.WriteByte(s[i])
	}
	return out.String()
}

func isOctal(c byte) bool { return '0' <= c && c <= '7' }

// ParseOwn returns, by hierarchy, the paths in the content of a /proc/PID/cgroup
// file.
func ParseOwn(data []byte) map[string]string {
	own := make(map[string]string)
	for line := range bytes.Lines(data) {
		fields := strings.SplitN(strings.TrimSuffix(string(line), "\n"), ":", 3)
		if len(fields) < 3 || !strings.HasPrefix(fields[2], "/") {
			continue
		}
		if fields[0] == "0" && fields[1] == "" {
			own[V2] = fields[2]
			continue
		}
		for _, hierarchy := range strings.Split(fields[1], ",") {
			if hierarchy != "" {
				own[hierarchy] = fields[2]
			}
		}
	}
	return own
}

// Resolve returns the directory of a path of the hierarchy below the mount, and
// whether it is visible there.
func (m Mount) Resolve(own string) (dir string, visible bool) {
	if slices.Contains(strings.Split(own, "/"), "..") {
		return "", false // outside of our cgroup namespace
	}
	own = path.Clean(own)
	if m.Root == "/" {
		return path.Join(m.Point, own), true
	}
	rest, ok := strings.CutPrefix(own, m.Root)
	if !ok || rest != "" && rest[0] != '/' {
		return "", false
	}
	return path.Join(m.Point, rest), true
}

// Find returns the directory of a process whose paths are own in a hierarchy.
func Find(mounts []Mount, own map[string]string, hierarchy string) (dir string, found bool) {
	at, ok := own[hierarchy]
	if !ok {
		return "", false
	}
	for _, m := range mounts {
		for _, h := range m.Hierarchies {
			if h != hierarchy {
				continue
			}
			if dir, visible := m.Resolve(at); visible {
				return dir, true
			}
		}
	}
	return "", false
}
