//go:build linux && (amd64 || arm64)

package spawn

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/abide-project/abide/internal/model"
)

func itoa(n int) string { return strconv.Itoa(n) }

func TestEnvironmentIsBuiltFromTheDefinitionOnly(t *testing.T) {
	env := file(t, "env", "FROM_FILE=yes\nPORT=2\n", 0o600)
	onEveryRung(t, func(t *testing.T, r rung) {
		svc := service()
		svc.User, svc.Instance, svc.Name = "nobody", "1", "web@1"
		svc.Environment = []model.EnvVar{{Name: "PORT", Value: "1"}, {Name: "WHO", Value: "${name} at ${host} as ${uid}, $${literal}"}, {Name: "DIR", Value: "${state_dir}"}}
		svc.EnvironmentFiles = []model.EnvFile{{Path: env}, {Path: "/nowhere/env", Optional: true}}
		got := r.run(t, compiler(t), svc, Run{Number: 7, ID: "0123:web@1:7"}).environ()
		delete(got, "PWD") // the shell's own
		delete(got, "OLDPWD")
		want := map[string]string{
			"ABIDE_NAME": "web@1", "ABIDE_INSTANCE": "1", "ABIDE_RUN_NUMBER": "7", "ABIDE_RUN_ID": "0123:web@1:7",
			"PATH": strings.Join(model.DefaultPath, ":"), "HOME": "/nonexistent", "USER": "nobody", "LOGNAME": "nobody", "SHELL": "/usr/sbin/nologin",
			"LANG": "C.UTF-8", "PORT": "2", "FROM_FILE": "yes", "WHO": "web@1 at testhost as 65534, ${literal}", "DIR": "/var/lib/web@1",
		}
		if !maps.Equal(got, want) {
			t.Errorf("got  %v\nwant %v", got, want)
		}
	})
}

func environment(t *testing.T, svc *model.Service, environ ...string) map[string]string {
	t.Helper()
	c := compiler(t)
	c.Environ = environ
	p, err := c.Compile(svc, Run{Number: 1})
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{}
	for _, v := range p.Env {
		name, value, _ := strings.Cut(v, "=")
		env[name] = value
	}
	if !slices.IsSorted(p.Env) {
		t.Errorf("not sorted: %q", p.Env)
	}
	return env
}

func TestInheritance(t *testing.T) {
	ours := []string{"KEEP_A=1", "KEEP_B=2", "OTHER=3", "PATH=/ours", "NOTIFY_SOCKET=/run/x", "HOME=/elsewhere", "TZ=UTC", "LC_ALL=C", "ABIDE_RUN_ID=outer"}
	svc := service()
	env := environment(t, svc, ours...)
	if env["KEEP_A"] != "" || env["PATH"] == "/ours" || env["TZ"] != "UTC" || env["LC_ALL"] != "C" {
		t.Errorf("nothing inherited: %v", env)
	}
	svc.Inherit.Globs = []string{"KEEP_*"}
	env = environment(t, svc, ours...)
	if env["KEEP_A"] != "1" || env["KEEP_B"] != "2" || env["OTHER"] != "" {
		t.Errorf("by pattern: %v", env)
	}
	svc.Inherit = model.Inherit{All: true}
	env = environment(t, svc, ours...)
	if env["OTHER"] != "3" || env["PATH"] != "/ours" || env["NOTIFY_SOCKET"] != "" || env["HOME"] == "/elsewhere" || env["ABIDE_RUN_ID"] != "" {
		t.Errorf("all: %v", env)
	}
}

func TestNumberWithoutAccountHasAHome(t *testing.T) {
	svc := service()
	svc.User, svc.Group = "12345", "12345"
	env := environment(t, svc, "USER=root")
	if _, has := env["USER"]; has || env["HOME"] != "/" {
		t.Errorf("%v", env)
	}
}

func TestPathOfTheEnvironmentFindsTheProgram(t *testing.T) {
	tool := file(t, "tool", "#!/bin/sh\n", 0o755)
	svc := service()
	svc.Shell, svc.Command = false, []string{"tool"}
	svc.Environment = []model.EnvVar{{Name: "PATH", Value: "/usr/bin:" + filepath.Dir(tool)}}
	p, err := compiler(t).Compile(svc, Run{})
	if err != nil {
		t.Fatal(err)
	}
	if last := p.Labels[len(p.Labels)-1]; last != "run "+tool {
		t.Error(last)
	}
}

func TestExpansionNeverSplitsWords(t *testing.T) {
	svc := service()
	svc.Shell = false
	svc.Command = []string{"/bin/echo", "${MESSAGE}", "${EMPTY:-default}", "$${x}", "${home}"}
	svc.Environment = []model.EnvVar{{Name: "MESSAGE", Value: "two words"}, {Name: "EMPTY", Value: ""}}
	p, err := compiler(t).Compile(svc, Run{})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"/bin/echo", "two words", "default", "${x}", "/root"}; !slices.Equal(p.Argv, want) {
		t.Errorf("%q", p.Argv)
	}
}

func TestShellScriptIsNotExpanded(t *testing.T) {
	svc := service()
	svc.Script = "echo ${NOT_OURS}"
	p, err := compiler(t).Compile(svc, Run{})
	if err != nil || !slices.Equal(p.Argv, []string{"/bin/sh", "-c", "echo ${NOT_OURS}"}) {
		t.Errorf("%q, %v", p.Argv, err)
	}
}

// A hostile path must neither hang abide nor show it a secret.
func TestHostileEnvironmentFilesAreRefused(t *testing.T) {
	secret := file(t, "secret", "hunter2 is the password\n", 0o600)
	dir := filepath.Dir(secret)
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Symlink(secret, dir+"/link"))
	must(os.Symlink(dir, dir+"-link"))
	defer os.Remove(dir + "-link")
	must(syscall.Mkfifo(dir+"/fifo", 0o600))
	must(os.WriteFile(dir+"/two", []byte("A=1\n"), 0o600))
	must(os.Link(dir+"/two", dir+"/names"))
	must(os.WriteFile(dir+"/large", make([]byte, maxEnvFile+1), 0o600))
	must(os.WriteFile(dir+"/nul", []byte("A=b\x00c\n"), 0o600))
	for path, want := range map[string]string{
		secret:                     "line 1 is not NAME=value",
		dir + "/link":              "a part of the path is a symbolic link",
		dir + "-link/two":          "a part of the path is a symbolic link",
		dir + "/fifo":              "it is not a regular file",
		dir:                        "it is not a regular file",
		dir + "/names":             "it has more than one name",
		dir + "/large":             "it is larger than",
		dir + "/nul":               "line 1 holds a NUL",
		"/dev/tty":                 "",
		"/proc/self/root" + secret: "symbolic link",
	} {
		env := map[string]string{}
		err := readEnvFile(path, false, true, env)
		if err == nil || !strings.Contains(err.Error(), want) || len(env) != 0 {
			t.Errorf("%s: %v, %v", path, err, env)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error quotes the file: %v", err)
		}
		if want == "" || strings.HasPrefix(path, "/proc") {
			continue
		}
		if fd, err := walkNoLinks(path); err == nil {
			syscall.Close(fd)
			if strings.Contains(want, "symbolic") {
				t.Errorf("without openat2 %s is opened", path)
			}
		} else if !strings.Contains(want, "symbolic") {
			t.Errorf("without openat2 %s: %v", path, err)
		}
	}
	if err := readEnvFile(dir+"-link/link", false, false, map[string]string{}); err == nil || strings.Contains(err.Error(), "symbolic") {
		t.Errorf("a plain user may use links of its own: %v", err)
	}
}

// systemd.exec(5), EnvironmentFile=, and the cases its parser is known for.
func TestEnvironmentFileSyntax(t *testing.T) {
	cases := []struct {
		text string
		want map[string]string
	}{
		{"", map[string]string{}},
		{"A=b", map[string]string{"A": "b"}},
		{"\ufeffA=b\r\nC=d\r\n", map[string]string{"A": "b", "C": "d"}},
		{"# comment\n; another\n\n  A=b  \n", map[string]string{"A": "b"}},
		{"# comment \\\nA=still the comment\nB=1\n", map[string]string{"B": "1"}},
		{"export A=b\nexport\tC=d\nexportE=f\n", map[string]string{"A": "b", "C": "d", "exportE": "f"}},
		{"A=one two\n", map[string]string{"A": "one two"}},
		{"A='one  two'\n", map[string]string{"A": "one  two"}},
		{"A=\"one\ntwo\"\n", map[string]string{"A": "one\ntwo"}},
		{"A='it\\n'\n", map[string]string{"A": `it\n`}},
		{`A="q\"uote \$x \\ \n"`, map[string]string{"A": `q"uote $x \ \n`}},
		{"A=\"joined \\\nlines\"\n", map[string]string{"A": "joined lines"}},
		{"A=joined\\\nlines\n", map[string]string{"A": "joinedlines"}},
		{"A=\"a\" 'b'\"c\"\n", map[string]string{"A": "abc"}},
		{"A=it's\n", map[string]string{"A": "it's"}},
		{`A=a\ b\\c`, map[string]string{"A": `a b\c`}},
		{"A=\nB=''\n", map[string]string{"A": "", "B": ""}},
		{"A=$B # no comment\n", map[string]string{"A": "$B # no comment"}},
		{"A = b\n", map[string]string{"A": "b"}},
		{"A=1\nA=2\n", map[string]string{"A": "2"}},
	}
	for _, tc := range cases {
		got := map[string]string{}
		if err := parseEnv(tc.text, func(k, v string) { got[k] = v }); err != nil || !maps.Equal(got, tc.want) {
			t.Errorf("%q: %q, %v, want %q", tc.text, got, err, tc.want)
		}
	}
	for text, want := range map[string]string{
		"A=1\nulimit -n 5\n": "line 2 is not NAME=value",
		"A=1\n\n'x'=1\n":     "line 3 is not NAME=value",
		"1A=1":               "line 1 is not NAME=value",
		"=1":                 "line 1 is not NAME=value",
		"A=1\nB=\"open\nC=1": "line 2: a quote is not closed",
		"export\nA=1\n":      "line 1 is not NAME=value",
	} {
		if err := parseEnv(text, func(string, string) {}); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func FuzzParseEnvIsTotal(f *testing.F) {
	for _, seed := range []string{"A=b\n", "export A=\"x\\\ny\"", "#\\\n", "A='", "A=\\", "\ufeff;", "A=b\\\n\\\n c"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		_ = parseEnv(text, func(name, value string) {
			if !validEnvName(name) || strings.ContainsRune(value, 0) {
				t.Errorf("%q=%q", name, value)
			}
		})
	})
}
