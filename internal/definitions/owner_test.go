//go:build linux

package definitions

import (
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// oneService is a system folder with a single good definition, web.
func oneService(t *testing.T) string {
	return tree(t, map[string]string{"etc/services/web.toml": "command = 'web'", "etc/services/other.toml": "command = 'other'"})
}

func TestHostilePathsAreRefusedByNameAndMode(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root has files of other users to refuse")
	}
	const web = "etc/services/web.toml"
	for _, c := range []struct {
		name string
		do   func(root string) error
		want string
	}{
		{"file of another user", func(root string) error { return os.Chown(root+"/"+web, 1234, 0) }, "cannot trust etc/services/web.toml: it belongs to uid 1234, not to root (mode 0644)"},
		{"file others may write", func(root string) error { return os.Chmod(root+"/"+web, 0o646) }, "cannot trust file etc/services/web.toml: others may write to it (mode 0646)"},
		{"file a group may write", func(root string) error { return os.Chmod(root+"/"+web, 0o664) }, "cannot trust file etc/services/web.toml: others may write to it (mode 0664)"},
		{"file with two names", func(root string) error { return os.Link(root+"/"+web, root+"/second") }, "cannot trust etc/services/web.toml: it has 2 names, so it may be someone else's file"},
		{"folder of another user", func(root string) error { return os.Chown(root+"/etc/services", 1234, 0) }, "cannot trust folder etc/services: it belongs to uid 1234, not to root (mode 0755)"},
		{"folder others may write", func(root string) error { return os.Chmod(root+"/etc/services", 0o757) }, "cannot trust folder etc/services: others may write to it (mode 0757)"},
		{"parent others may write", func(root string) error { return os.Chmod(root+"/etc", 0o777) }, "cannot trust folder etc: others may write to it (mode 0777)"},
		{"FIFO", func(root string) error { must(t, os.Remove(root+"/"+web)); return unix.Mkfifo(root+"/"+web, 0o644) }, "cannot read etc/services/web.toml: it is no regular file"},
		{"device", func(root string) error {
			must(t, os.Remove(root+"/"+web))
			return os.Symlink("/dev/zero", root+"/"+web)
		}, "cannot read etc/services/web.toml: it is no regular file"},
		{"link of another user", func(root string) error {
			must(t, os.Rename(root+"/"+web, root+"/etc/real"))
			must(t, os.Symlink("../real", root+"/"+web))
			return os.Lchown(root+"/"+web, 1234, 0)
		}, "cannot trust link etc/services/web.toml: it belongs to uid 1234, not to root"},
		{"link into a folder of another user", func(root string) error {
			must(t, os.Mkdir(root+"/home", 0o755))
			must(t, os.Rename(root+"/"+web, root+"/home/web"))
			must(t, os.Symlink("../../home/web", root+"/"+web))
			return os.Chown(root+"/home", 1234, 0)
		}, "cannot trust folder home: it belongs to uid 1234, not to root (mode 0755)"},
		{"links in a circle", func(root string) error {
			must(t, os.Remove(root+"/"+web))
			return os.Symlink("web.toml", root+"/"+web)
		}, "cannot read etc/services/web.toml: too many levels of symbolic links"},
		{"links that double", func(root string) error {
			must(t, os.Remove(root+"/"+web))
			for i := range 30 {
				next := "l" + strconv.Itoa(i+1)
				must(t, os.Symlink("../services/"+next+"/../"+next, root+"/etc/services/l"+strconv.Itoa(i)))
			}
			must(t, os.Mkdir(root+"/etc/services/l30", 0o755))
			return os.Symlink("l0", root+"/"+web)
		}, "too many levels of symbolic links"},
		{"link to nothing", func(root string) error {
			must(t, os.Remove(root+"/"+web))
			return os.Symlink("nothing", root+"/"+web)
		}, "cannot read etc/services/nothing: no such file or directory"},
		{"huge file", func(root string) error { return os.Truncate(root+"/"+web, 1<<40) }, "cannot read etc/services/web.toml: it has 1099511627776 bytes, at most 1048576 are allowed"},
		{"drop-in of another user", func(root string) error {
			must(t, os.Mkdir(root+"/"+web+".d", 0o755))
			must(t, os.WriteFile(root+"/"+web+".d/a.toml", []byte("nice = 1"), 0o644))
			return os.Chown(root+"/"+web+".d/a.toml", 1234, 0)
		}, "cannot trust etc/services/web.toml.d/a.toml: it belongs to uid 1234, not to root (mode 0644)"},
		{"drop-in folder others may write", func(root string) error {
			must(t, os.Mkdir(root+"/"+web+".d", 0o755))
			return os.Chmod(root+"/"+web+".d", 0o777)
		}, "cannot trust folder etc/services/web.toml.d: others may write to it (mode 0777)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := oneService(t)
			must(t, c.do(root))
			s := Load(system(root))
			if s.Services["web"] != nil {
				t.Errorf("taken")
			}
			if got := messages(s.Diags, root); !strings.Contains(got, c.want) {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if s.Services["other"] == nil && !strings.Contains(c.want, "trust folder etc") {
				t.Errorf("the other service is gone too: %v", s.Diags)
			}
		})
	}
}

func TestTrustedLinksAndStickyFoldersAreFollowed(t *testing.T) {
	root := oneService(t)
	must(t, os.Chmod(root+"/etc", 0o777|os.ModeSticky))
	must(t, os.Rename(root+"/etc/services", root+"/etc/elsewhere"))
	must(t, os.Symlink("elsewhere/", root+"/etc/services"))
	must(t, os.Rename(root+"/etc/elsewhere/web.toml", root+"/etc/real"))
	must(t, os.Symlink(root+"/etc/./elsewhere/../real", root+"/etc/elsewhere/web.toml"))
	s := Load(system(root))
	if names(s) != "other web" || len(s.Diags) > 0 {
		t.Errorf("got %q\n%v", names(s), s.Diags)
	}
	if s.Changed("web") {
		t.Error("changed at once")
	}
	write(t, root+"/etc/real", "command = 'new'")
	if !s.Changed("web") {
		t.Error("a change behind a link is not seen")
	}
}

func TestWithoutOwnerCheckOnlyTheFormOfTheFileCounts(t *testing.T) {
	root := oneService(t)
	must(t, os.Chown(root+"/etc/services/web.toml", 1234, 1234))
	must(t, os.Chmod(root+"/etc/services", 0o777))
	opts := system(root)
	opts.CheckOwner = false
	if s := Load(opts); names(s) != "other web" {
		t.Error(s.Diags)
	}
}

func TestAPlainUserTrustsRootAndItself(t *testing.T) {
	self, err := user.Current()
	must(t, err)
	r := &reader{check: true, euid: 1234, egid: 1234}
	at := func(uid, gid, mode uint32) *unix.Stat_t {
		return &unix.Stat_t{Uid: uid, Gid: gid, Mode: unix.S_IFREG | mode, Nlink: 1}
	}
	for _, c := range []struct {
		st *unix.Stat_t
		ok bool
	}{
		{at(1234, 1234, 0o644), true}, {at(0, 0, 0o644), true}, {at(1234, 1234, 0o664), true},
		{at(1234, 50, 0o664), false}, {at(1234, 1234, 0o666), false}, {at(99, 99, 0o644), false},
	} {
		if err := r.judgeFile(c.st, "f"); (err == nil) != c.ok {
			t.Errorf("uid %d gid %d mode %o: %v", c.st.Uid, c.st.Gid, c.st.Mode, err)
		}
	}
	if self.Uid == "0" {
		if err := newReader(true).judgeFile(at(1234, 1234, 0o644), "f"); err == nil {
			t.Error("root trusts another user")
		}
	}
}

func TestNoDescriptorLeaks(t *testing.T) {
	root := oneService(t)
	must(t, os.Symlink("web.toml", root+"/etc/services/linked.toml"))
	must(t, os.Symlink("nothing", root+"/etc/services/broken.toml"))
	must(t, unix.Mkfifo(root+"/etc/services/fifo.toml", 0o644))
	must(t, os.Mkdir(root+"/etc/services/dir.toml", 0o755))
	must(t, os.Mkdir(root+"/etc/services/web.toml.d", 0o777))
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		must(t, err)
		return len(entries)
	}
	before := count()
	for range 50 {
		s := Load(system(root))
		s.Reread("web")
		s.Changed("web")
	}
	Check([]string{filepath.Join(root, "etc")})
	if after := count(); after > before+2 {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}
