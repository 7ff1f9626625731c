//go:build linux && (amd64 || arm64)

package spawn

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/abide-project/abide/internal/model"
)

const nobody = 65534

// places is a compiler whose folders are the test's.
func places(t *testing.T) (*Compiler, string) {
	t.Helper()
	root := t.TempDir()
	c := compiler(t)
	base := func(name string) string { return filepath.Join(root, name) }
	c.Bases = Bases{Run: base("run"), State: base("lib"), Cache: base("cache"), Log: base("abide-log"), Logs: base("log"), Config: base("etc")}
	c.Credentials = base("credentials")
	t.Cleanup(c.CloseCredentials)
	return c, root
}

func ownedBy(t *testing.T, path string) (uid int, mode os.FileMode) {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return int(info.Sys().(*syscall.Stat_t).Uid), info.Mode().Perm()
}

func shop() *model.Service {
	svc := service()
	svc.Name, svc.User = "shop", "nobody"
	svc.Directories = model.Directories{Run: 0o755, State: 0o700, Logs: 0o750}
	return svc
}

func TestDirectoriesAreTheServices(t *testing.T) {
	c, root := places(t)
	svc := shop()
	for range 2 { // the second time they are there
		if err := c.MakeDirectories(svc); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]os.FileMode{"run/shop": 0o755, "lib/shop": 0o700, "log/shop": 0o750} {
		if uid, mode := ownedBy(t, filepath.Join(root, path)); uid != nobody || mode != want {
			t.Errorf("%s belongs to %d with mode %o", path, uid, mode)
		}
	}
	if _, err := os.Lstat(filepath.Join(root, "cache/shop")); err == nil {
		t.Error("a folder was made that nobody asked for")
	}
	state := filepath.Join(root, "lib/shop")
	if err := os.Chmod(state, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := c.MakeDirectories(svc); err != nil {
		t.Fatal(err)
	}
	if _, mode := ownedBy(t, state); mode != 0o700 {
		t.Errorf("its mode stays %o", mode)
	}
	env := map[string]string{}
	c.setDirectories(env, svc)
	if env["RUNTIME_DIRECTORY"] != filepath.Join(root, "run/shop") || env["LOGS_DIRECTORY"] != filepath.Join(root, "log/shop") || env["CACHE_DIRECTORY"] != "" {
		t.Errorf("it is told of %v", env)
	}
	if err := c.RemoveRunDirectory(svc); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(filepath.Join(root, "run/shop")); err == nil {
		t.Error("the run directory is left")
	}
}

func TestAFolderOfSomebodyElsesIsNoServicesDirectory(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(path string) error
		want    string
	}{
		"a link":                   {func(p string) error { return os.Symlink("/etc", p) }, "it is a symbolic link"},
		"a file":                   {func(p string) error { return os.WriteFile(p, nil, 0o644) }, "it is not a directory"},
		"a folder of root's":       {func(p string) error { return os.MkdirAll(p+"/ssl", 0o755) }, "it belongs to uid 0, not to uid 65534"},
		"an empty one of another":  {func(p string) error { os.Mkdir(p, 0o755); return os.Chown(p, 1, 1) }, "it belongs to uid 1, not to uid 65534"},
		"an empty one of abide's":  {func(p string) error { return os.Mkdir(p, 0o755) }, ""},
		"one of the service's own": {func(p string) error { os.MkdirAll(p+"/x", 0o755); return os.Chown(p, nobody, nobody) }, ""},
	} {
		compiler, root := places(t)
		path := filepath.Join(root, "lib", "shop")
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := c.prepare(path); err != nil {
			t.Fatal(err)
		}
		svc := shop()
		svc.Directories = model.Directories{State: 0o700}
		err := compiler.MakeDirectories(svc)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), "cannot use "+path+" as the state directory of shop: "+c.want)):
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestADirectoryStaysBelowItsBase(t *testing.T) {
	c, root := places(t)
	svc := shop()
	for _, name := range []string{"..", "../etc", "/etc", "a/../../etc", "."} {
		svc.Directories.Name = name
		if err := c.MakeDirectories(svc); err == nil {
			t.Errorf("%q is taken", name)
		}
	}
	svc.Directories.Name = "group/shop"
	if err := c.MakeDirectories(svc); err != nil {
		t.Fatal(err)
	}
	if uid, _ := ownedBy(t, filepath.Join(root, "lib/group")); uid != 0 {
		t.Error("the folder above belongs to the service")
	}
	link := filepath.Join(root, "lib", "linked")
	if err := os.Symlink("/tmp", link); err != nil {
		t.Fatal(err)
	}
	svc.Directories = model.Directories{State: 0o700, Name: "linked/shop"}
	if err := c.MakeDirectories(svc); err == nil || !strings.Contains(err.Error(), "symbolic link") {
		t.Errorf("a link on the way: %v", err)
	}
}

func TestARunDirectoryThatIsNotTheServicesStays(t *testing.T) {
	c, root := places(t)
	dir := filepath.Join(root, "run", "shop")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := c.RemoveRunDirectory(shop()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(dir); err != nil {
		t.Error("a folder of root's was removed")
	}
}

func TestCredentialsArePlacedForTheServiceAlone(t *testing.T) {
	c, root := places(t)
	source := filepath.Join(root, "db.pass")
	if err := os.WriteFile(source, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	svc := shop()
	svc.Credentials = []model.Credential{{Name: "db", Path: source}, {Name: "again", Path: "${definition_dir}/db.pass"}}
	svc.Files = []string{filepath.Join(root, "shop.toml")}
	for range 2 {
		if err := c.PlaceCredentials(svc, 7); err != nil {
			t.Fatal(err)
		}
	}
	dir := filepath.Join(root, "credentials", "shop-7")
	if got := c.CredentialsDir(svc, 7); got != dir {
		t.Errorf("they are in %s", got)
	}
	for path, want := range map[string]os.FileMode{dir: 0o500, dir + "/db": 0o400, dir + "/again": 0o400} {
		if uid, mode := ownedBy(t, path); uid != nobody || mode != want {
			t.Errorf("%s belongs to %d with mode %o", path, uid, mode)
		}
	}
	if !inMemory(dir) {
		t.Error("they are on a disk")
	}
	program, err := c.Compile(svc, Run{Number: 7})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range append(program.Argv, program.Env...) {
		if strings.Contains(text, "secret") {
			t.Errorf("the program has %s", text)
		}
	}
	if text, err := model.Expand("${credentials_dir}/db", c.names(svc, 7, identity{})); err != nil || text != dir+"/db" {
		t.Errorf("${credentials_dir} is %s, %v", text, err)
	}
	if err := c.PlaceCredentials(svc, 8); err != nil {
		t.Fatal(err)
	}
	c.RemoveOtherCredentials(func(service string, run uint64) bool { return service == "shop" && run == 8 })
	if _, err := os.Lstat(dir); err == nil {
		t.Error("those of an older run are left")
	}
	c.RemoveCredentials("shop", 8)
	if left, err := os.ReadDir(filepath.Join(root, "credentials")); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestACredentialThatCannotBePlacedIsNamedAndNotQuoted(t *testing.T) {
	c, root := places(t)
	big := filepath.Join(root, "big")
	if err := os.WriteFile(big, []byte(strings.Repeat("secret", 1<<18)), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(root, "link")
	if err := os.Symlink("/etc/passwd", link); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(root, "missing"): "no such file or directory",
		big:                            "it is larger than 1048576 bytes",
		link:                           "a part of the path is a symbolic link",
		"/dev/null":                    "it is not a regular file",
	} {
		svc := shop()
		svc.Credentials = []model.Credential{{Name: "db", Path: path}}
		err := c.PlaceCredentials(svc, 1)
		if err == nil || err.Error() != "cannot read credential db from "+path+": "+want {
			t.Errorf("%s: %v", path, err)
		}
		if _, err := os.Lstat(c.CredentialsDir(svc, 1)); err == nil {
			t.Errorf("%s: a part of them is left", path)
		}
	}
	svc := shop()
	svc.Chroot = "/srv"
	svc.Credentials = []model.Credential{{Name: "db", Path: big}}
	if err := c.PlaceCredentials(svc, 1); err == nil || !strings.Contains(err.Error(), "with chroot it could not see their folder") {
		t.Errorf("with chroot: %v", err)
	}
}

func TestNamesOfCredentialFoldersAreReadBack(t *testing.T) {
	for base, want := range map[string]string{"shop-7": "shop", "a-b@2-18446744073709551615": "a-b@2", "shop": "", "shop-x": "", "-1": ""} {
		service, _, ok := credentialsOf(base)
		if ok != (want != "" || base == "-1") || ok && service != want {
			t.Errorf("%s is of %q, %t", base, service, ok)
		}
	}
}

func FuzzCredentialsOf(f *testing.F) {
	f.Add("shop-7")
	f.Add("--")
	f.Fuzz(func(t *testing.T, base string) {
		if service, _, ok := credentialsOf(base); ok && !strings.HasPrefix(base, service+"-") {
			t.Errorf("%q is of %q", base, service)
		}
	})
}
