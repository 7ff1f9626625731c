package cgroupfs

import (
	"slices"
	"strings"
	"testing"
)

const hybrid = `31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
36 31 0:33 / /sys/fs/cgroup/freezer rw,relatime - cgroup cgroup rw,freezer
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
`

const hybridOwn = `12:freezer:/a
11:cpu,cpuacct:/b
1:name=systemd:/c
0::/user.slice/me
`

func TestHierarchiesAreFound(t *testing.T) {
	for name, c := range map[string]struct {
		mounts, own, hierarchy, want string
	}{
		"hybrid, v2":          {hybrid, hybridOwn, V2, "/sys/fs/cgroup/unified/user.slice/me"},
		"hybrid, freezer":     {hybrid, hybridOwn, "freezer", "/sys/fs/cgroup/freezer/a"},
		"hybrid, cpuacct":     {hybrid, hybridOwn, "cpuacct", "/sys/fs/cgroup/cpu,cpuacct/b"},
		"hybrid, systemd":     {hybrid, hybridOwn, "name=systemd", "/sys/fs/cgroup/systemd/c"},
		"hybrid, not mounted": {hybrid, hybridOwn + "7:rdma:/\n", "rdma", ""},
		"unified":             {"30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n", "0::/\n", V2, "/sys/fs/cgroup"},
		"container":           {"30 23 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n", "0::/docker/abc/x\n", V2, "/sys/fs/cgroup/x"},
		"other container":     {"30 23 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n", "0::/docker/abcd\n", V2, ""},
		"outside namespace":   {"30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n", "0::/../other\n", V2, ""},
		"odd mount point":     {`30 23 0:26 / /mnt/a\040b\134 rw - cgroup2 cgroup rw` + "\n", "0::/x:y\n", V2, `/mnt/a b\/x:y`},
		"none":                {"", "", V2, ""},
	} {
		dir, found := Find(ParseMounts([]byte(c.mounts)), ParseOwn([]byte(c.own)), c.hierarchy)
		if dir != c.want || found != (c.want != "") {
			t.Errorf("%s: got %q, %v, want %q", name, dir, found, c.want)
		}
	}
}

func FuzzParseMounts(f *testing.F) {
	f.Add([]byte(hybrid))
	f.Add([]byte(`1 2 3 \1 \12 - cgroup x y`))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, m := range ParseMounts(data) {
			m.Resolve("/")
			if slices.Contains(m.Hierarchies, "rw") {
				t.Errorf("%q has a hierarchy rw", data)
			}
		}
	})
}

func FuzzParseOwn(f *testing.F) {
	f.Add([]byte(hybridOwn))
	f.Add([]byte("0::\n::/\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for hierarchy, at := range ParseOwn(data) {
			if !strings.HasPrefix(at, "/") {
				t.Errorf("%q: %q is at %q", data, hierarchy, at)
			}
		}
	})
}
