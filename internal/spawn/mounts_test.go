package spawn

import (
	"errors"
	"testing"
)

// fakeMounts fails the test when a path that is not local is touched.
type fakeMounts struct {
	t     *testing.T
	text  string
	links map[string]string
	fresh bool
	fails bool
}

func (f *fakeMounts) changed() bool { was := f.fresh; f.fresh = false; return was }

func (f *fakeMounts) read() (string, error) {
	if f.fails {
		return "", errors.New("no /proc")
	}
	return f.text, nil
}

func (f *fakeMounts) readlink(path string) (string, error) {
	if len(path) > 4 && path[:5] == "/nfs/" {
		f.t.Errorf("%s was touched", path)
	}
	if to, ok := f.links[path]; ok {
		return to, nil
	}
	return "", errors.New("not a link")
}

const mountinfo = `22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
23 22 0:21 / /proc rw - proc proc rw
24 22 0:40 / /nfs rw,relatime - nfs4 server:/export rw
25 22 0:41 / /my\040data rw master:1 shared:2 - fuse.sshfs x rw
26 22 0:42 / /over rw - nfs4 server:/x rw
27 22 0:43 / /over rw - tmpfs tmpfs rw
28 22 0:44 / /home rw - autofs map rw
29 23 0:45 / /proc/sys/fs/binfmt_misc rw - autofs systemd-1 rw
`

func TestLocalGoesByTheLongestMountPoint(t *testing.T) {
	m := &Mounts{source: &fakeMounts{t: t, text: mountinfo, links: map[string]string{
		"/srv/app": "/nfs/app", "/srv/rel": "../nfs", "/srv/ok": "/usr", "/srv/a": "/srv/b", "/srv/b": "/srv/a",
	}}}
	for path, want := range map[string]bool{
		"/": true, "/usr/bin/nginx": true, "/nfs": false, "/nfs/app/bin": false, "/nfsx": true,
		"/my data/x": false, "/over/x": true, "/home/alice": false, "/proc/self": true, "/proc/sys/fs/binfmt_misc/x": false,
		"/srv/app": false, "/srv/app/bin/x": false, "/srv/rel/y": false, "/srv/ok/bin": true, "/srv/a/x": true,
		"/nfs/../usr": true, "relative": true,
	} {
		if got := m.Local(path); got != want {
			t.Errorf("Local(%s) = %v", path, got)
		}
	}
}

func TestMountsAreReadAgainWhenTheyChange(t *testing.T) {
	source := &fakeMounts{t: t, text: "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"}
	m := &Mounts{source: source}
	if !m.Local("/nfs/x") {
		t.Fatal("not local before the mount")
	}
	source.text, source.fresh = mountinfo, true
	if m.Local("/nfs/x") {
		t.Fatal("local after the mount")
	}
}

func TestWithoutProcEverythingIsLocal(t *testing.T) {
	m := &Mounts{source: &fakeMounts{t: t, fails: true}}
	if !m.Local("/nfs/x") {
		t.Error("not local")
	}
	if m = nil; !m.Local("/x") {
		t.Error("not local without mounts")
	}
}

func FuzzParseMountsIsTotal(f *testing.F) {
	f.Add(mountinfo)
	f.Add("1 2 3 4 \\04 6 - \n- - - - - - -")
	f.Fuzz(func(t *testing.T, text string) { parseMounts(text) })
}
