package definitions

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/abide-project/abide/internal/diag"
	"github.com/abide-project/abide/internal/format"
	"github.com/abide-project/abide/internal/model"
)

// tree writes files below a new folder that root owns and nobody else may write
// to. Text that begins with "->" is the target of a symbolic link.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if target, ok := strings.CutPrefix(text, "->"); ok {
			if err := os.Symlink(target, path); err != nil {
				t.Fatal(err)
			}
			continue
		}
		write(t, path, text)
	}
	return root
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func system(root string) Options {
	return Options{VendorDir: filepath.Join(root, "lib"), EtcDir: filepath.Join(root, "etc"), CheckOwner: true}
}

func names(s *Set) string {
	var out []string
	for name := range s.Services {
		out = append(out, name)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// messages is the diagnostics without root, one a line.
func messages(list diag.List, root string) string {
	return strings.ReplaceAll(list.String(), root+"/", "")
}

func TestLayersDropInsAndDefaultsComeTogether(t *testing.T) {
	root := tree(t, map[string]string{
		"lib/services/web.toml":                 "command = 'web'\nuser = 'vendor'\nenvironment = { A = '1', B = '1' }\n[stop]\nsignal = 'QUIT'\n",
		"lib/services/db.toml":                  "command = 'vendor-db'\nuser = 'vendor'\n",
		"lib/services/db.toml.d/x.toml":         "nice = 3",
		"etc/services/db.toml":                  "command = 'local-db'\n",
		"etc/services/web.toml.d/10-a.toml":     "environment = { B = '2' }\nnice = 1\n",
		"etc/services/web.toml.d/20-b.toml":     "nice = 2\n[stop]\ncommand = 'webctl stop'\n",
		"etc/services/web.toml.d/README":        "no definition",
		"etc/services/.hidden.toml":             "nonsense",
		"etc/services/web.toml~":                "nonsense",
		"etc/services/gone.toml.d/a.toml":       "nice = 1",
		"etc/abide.toml":                        "[defaults]\numask = '077'\nnice = 5\n[services.cron]\ncommand = 'cron'\n[services.cron.log]\nkeep = 3\n[operators.'w*']\noperate = ['group:ops']\n[shutdown]\ntimeout = '20s'\n",
		"etc/services/pool@.toml":               "command = ['pool', '${instance}']\ninstances = ['a', 'b', 'c']\nenvironment.X = 'all'\n",
		"etc/services/pool@.toml.d/all.toml":    "umask = '027'",
		"etc/services/pool@b.toml":              "command = 'own'\n",
		"etc/services/pool@c.toml.d/extra.toml": "[environment]\nX = 'only c'\n",
	})
	s := Load(system(root))
	if got, want := names(s), "cron db pool@a pool@b pool@c web"; got != want {
		t.Fatalf("got %q want %q\n%v", got, want, s.Diags)
	}
	want := `etc/services/gone.toml.d/a.toml:1:1: warning: this drop-in changes nothing: there is no service gone [no-effect]
lib/services/db.toml.d/x.toml:1:1: warning: this drop-in changes nothing: etc/services/db.toml replaces the whole definition [no-effect]`
	if got := messages(s.Diags, root); got != want {
		t.Errorf("got\n%s", got)
	}
	web := s.Services["web"]
	if web.User != "vendor" || *web.Nice != 2 || web.Umask != 0o077 || fmt.Sprint(web.Environment) != "[{A 1} {B 2}]" {
		t.Errorf("web is %+v", web)
	}
	if web.Stop.Steps != nil || !slices.Equal(web.Stop.Command, []string{"webctl", "stop"}) {
		t.Errorf("an upper stop.command does not replace stop.signal: %+v", web.Stop)
	}
	if fmt.Sprint(web.Operators) != "map[operate:[group:ops] view:[*]]" || len(s.Services["db"].Operators) != 1 {
		t.Errorf("operators %v", web.Operators)
	}
	if got := strings.ReplaceAll(fmt.Sprint(web.Files), root+"/", ""); got != "[lib/services/web.toml etc/services/web.toml.d/10-a.toml etc/services/web.toml.d/20-b.toml]" {
		t.Errorf("files %s", got)
	}
	if got := web.Origin["nice"].String(); got != filepath.Join(root, "etc/services/web.toml.d/20-b.toml")+":1:8" {
		t.Errorf("nice comes from %s", got)
	}
	if db := s.Services["db"]; db.User != "" || db.Command[0] != "local-db" || *db.Nice != 5 {
		t.Errorf("db is %+v", db)
	}
	if s.Shutdown != 20*time.Second || s.Services["cron"].Log.Keep != 3 {
		t.Errorf("shutdown %v, cron keeps %d", s.Shutdown, s.Services["cron"].Log.Keep)
	}
	a, b, c := s.Services["pool@a"], s.Services["pool@b"], s.Services["pool@c"]
	if a.Template != "pool@" || a.Instance != "a" || a.Umask != 0o027 || b.Template != "" || b.Umask != 0o077 || b.Command[0] != "own" {
		t.Errorf("a %+v\nb %+v", a, b)
	}
	if a.Environment[0].Value != "all" || c.Environment[0].Value != "only c" {
		t.Errorf("a %v c %v", a.Environment, c.Environment)
	}
}

func TestOneBrokenFileLeavesTheOthersAlone(t *testing.T) {
	root := tree(t, map[string]string{
		"etc/services/good.toml":         "command = 'x'",
		"etc/services/bad.toml":          "comand = 'x'",
		"etc/services/worse.toml":        "command = \n",
		"etc/services/no name.toml":      "command = 'x'",
		"etc/services/abide.toml":        "command = 'x'",
		"etc/services/dir.toml/x":        "",
		"etc/services/tmpl@.toml":        "command = 'x'\ninstances = ['a b']",
		"etc/services/web.toml":          "command = 'x'",
		"etc/services/web.toml.d/a.toml": "nice = 'high'",
		"lib/services/bad.toml":          "command = 'the vendor file must not come back'",
	})
	s := Load(system(root))
	if got := names(s); got != "good" {
		t.Errorf("services %q", got)
	}
	var broken []string
	for name := range s.Broken {
		broken = append(broken, name)
		if !s.Broken[name].HasErrors() {
			t.Errorf("%s is broken without an error", name)
		}
	}
	slices.Sort(broken)
	if got := strings.Join(broken, ","); got != "abide,bad,dir,no name,tmpl@,web,worse" {
		t.Errorf("broken %q", got)
	}
	want := `etc/services/abide.toml:1:1: error: cannot name a service "abide": the name is reserved for abide itself [bad-name]
etc/services/bad.toml:1:1: error: unknown key comand [unknown-key]
etc/services/dir.toml: error: cannot read etc/services/dir.toml: it is a folder [unreadable]
etc/services/no name.toml:1:1: error: cannot name a service "no name": only letters, digits and _ . : - are allowed [bad-name]
etc/services/tmpl@.toml:2:14: error: cannot name a service "a b": only letters, digits and _ . : - are allowed [bad-name]
etc/services/web.toml.d/a.toml:1:8: error: cannot use nice: it takes a whole number, not a text [wrong-type]
etc/services/worse.toml:1:11: error: cannot read TOML: a text must stand in quotes [syntax]`
	if got := messages(s.Diags, root); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestTwoDefinitionsInOneLayerNameBothFiles(t *testing.T) {
	root := tree(t, map[string]string{
		"etc/abide.toml":        "[services.web]\ncommand = 'a'\n",
		"etc/services/web.toml": "command = 'b'",
	})
	s := Load(system(root))
	want := "etc/services/web.toml:1:1: error: cannot define web twice: it is already defined in etc/abide.toml:1:11 [duplicate]"
	if got := messages(s.Diags, root); got != want || s.Broken["web"] == nil || len(s.Services) != 0 {
		t.Errorf("got %s", got)
	}
}

func TestAbsentFoldersAreNoError(t *testing.T) {
	root := t.TempDir()
	for _, opts := range []Options{system(root), {Scope: User, Home: root}, {Scope: User, Home: root, ConfigHome: filepath.Join(root, "xdg")}} {
		s := Load(opts)
		if len(s.Services) != 0 || s.Diags.HasErrors() || len(s.Diags) != 1 || s.Diags[0].Severity != diag.Note || s.Diags[0].Hint == "" {
			t.Errorf("got %v", s.Diags)
		}
	}
	s := Load(Options{Config: []string{filepath.Join(root, "nothing")}})
	if got := messages(s.Diags, root); got != "nothing: error: cannot read nothing: no such file or directory [unreadable]" {
		t.Errorf("got %s", got)
	}
}

func TestProjectsAreAFileAFolderOrAProcfile(t *testing.T) {
	for _, files := range []map[string]string{
		{"abide.toml": "[services.web]\ncommand = 'x'\ndirectory = 'sub'\nenvironment_files = ['e']\n", "Procfile": "ignored: x"},
		{"abide/web.toml": "command = 'x'\ndirectory = 'sub'\nenvironment_files = ['e']\n"},
	} {
		root := tree(t, files)
		write(t, filepath.Join(root, ".env"), "A=1")
		s := Load(Options{Scope: Project, Root: root, Console: true, Inherit: true, DotEnv: true})
		if names(s) != "web" {
			t.Fatal(s.Diags)
		}
		web := s.Services["web"]
		if web.Directory != root+"/sub" || web.Root != root || web.Log.Stdout[0].Kind != model.LogConsole || !web.Inherit.All {
			t.Errorf("web is %+v", web)
		}
		if want := (model.EnvFile{Path: root + "/.env", Optional: true}); s.DotEnv != root+"/.env" || web.EnvironmentFiles[0] != want || web.EnvironmentFiles[1].Path != root+"/sub/e" {
			t.Errorf("files %v", web.EnvironmentFiles)
		}
	}
	root := tree(t, map[string]string{"Procfile": "# processes\nweb: bin/web -p $PORT\nworker: bin/work | tee log\r\nbroken line\nweb: again\n"})
	s := Load(Options{Scope: Project, Root: root})
	if names(s) != "worker" || !s.Services["worker"].Shell || s.Services["worker"].Script != "bin/work | tee log" {
		t.Errorf("services %v", s.Services)
	}
	if got := messages(s.Diags, root); got != "Procfile:4:1: error: cannot read the line: a Procfile holds lines of NAME: COMMAND [syntax]\nProcfile:5:1: error: cannot use name web twice: it is already used in line 2 [duplicate]" {
		t.Errorf("got %s", got)
	}
	s = Load(Options{Scope: Project, Root: t.TempDir()})
	if !s.Diags.HasErrors() {
		t.Error("a project without any definition is no error")
	}
}

func TestConfigTakesFoldersAndFilesLaterOnesWin(t *testing.T) {
	root := tree(t, map[string]string{
		"a/abide.toml":        "[defaults]\nnice = 1\n",
		"a/services/web.toml": "command = 'web'",
		"a/db.toml":           "command = 'db'",
		"a/Procfile":          "foreign: x",
		"b/web.toml":          "command = 'other'",
		"b/web.toml.d/x.toml": "umask = '077'",
		"b/not-read.toml":     "command = 'x'",
		"unknown.conf":        "x",
	})
	s := Load(Options{Config: []string{root + "/a", root + "/b/web.toml"}})
	if names(s) != "db foreign web" || len(s.Diags) > 0 {
		t.Fatal(names(s), s.Diags)
	}
	if web := s.Services["web"]; web.Command[0] != "other" || web.Umask != 0o077 || *web.Nice != 1 {
		t.Errorf("web is %+v", web)
	}
	s = Load(Options{Config: []string{root + "/unknown.conf", root + "/b/web.toml.d/x.toml"}})
	if got := messages(s.Diags, root); got != "b/web.toml.d/x.toml: error: cannot run b/web.toml.d/x.toml: it is a drop-in, no definition [unreadable]\nunknown.conf: error: cannot read unknown.conf: it is of no format that abide knows [unreadable]" {
		t.Errorf("got %s", got)
	}
}

func TestRereadAndChangedFollowTheFilesOfOneService(t *testing.T) {
	root := tree(t, map[string]string{
		"lib/services/web.toml":   "command = 'web'",
		"etc/services/db.toml":    "command = 'db'",
		"etc/services/pool@.toml": "command = 'pool'\ninstances = ['a']",
		"etc/abide.toml":          "[services.one]\ncommand = 'one'\n[services.two]\ncommand = 'two'\n",
		"etc/services/Procfile":   "proc: x\n",
	})
	s := Load(system(root))
	if len(s.Diags) > 0 || names(s) != "db one pool@a proc two web" {
		t.Fatal(names(s), s.Diags)
	}
	changed := func(want string) {
		t.Helper()
		var got []string
		for _, name := range strings.Fields("db one pool@a proc two web") {
			if s.Changed(name) {
				got = append(got, name)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("changed: got %v want %s", got, want)
		}
	}
	reread := func(name string) *model.Service {
		t.Helper()
		svc, diags := s.Reread(name)
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		return svc
	}
	changed("")
	write(t, root+"/etc/services/db.toml", "command = 'db'  # only a comment\n")
	changed("")
	write(t, root+"/etc/services/db.toml", "command = 'database'\n")
	write(t, root+"/etc/services/web.toml", "command = 'local'\n")
	if err := os.Mkdir(root+"/etc/services/pool@a.toml.d", 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, root+"/etc/services/pool@a.toml.d/x.toml", "nice = 3\n")
	write(t, root+"/etc/abide.toml", "[services.one]\ncommand = 'one'\n[services.two]\ncommand = 'zwei'\n")
	write(t, root+"/etc/services/Procfile", "proc: y\n")
	changed("db pool@a proc two web")
	if svc := reread("web"); svc.Command[0] != "local" || s.Services["web"].Command[0] != "web" {
		t.Errorf("web is %+v", svc)
	}
	if *reread("pool@a").Nice != 3 || reread("two").Command[0] != "zwei" || reread("proc").Script != "y" {
		t.Error("not read again")
	}
	changed("db")
	write(t, root+"/etc/services/db.toml", "command = \n")
	if svc, diags := s.Reread("db"); svc != nil || !diags.HasErrors() {
		t.Errorf("a broken definition was taken: %v", svc)
	}
	write(t, root+"/etc/services/new.toml", "command = 'new'")
	if svc := reread("new"); svc == nil || svc.Command[0] != "new" {
		t.Errorf("a new file is not found: %v", svc)
	}
	for _, name := range []string{"db", "new"} {
		if err := os.Remove(root + "/etc/services/" + name + ".toml"); err != nil {
			t.Fatal(err)
		}
		if svc := reread(name); svc != nil {
			t.Errorf("a removed definition is still there: %v", svc)
		}
	}
	if svc := reread("../../etc/passwd"); svc != nil {
		t.Error("a path was taken for a name")
	}
}

func TestKeepHoldsServicesWhoseFileCannotBeRead(t *testing.T) {
	root := tree(t, map[string]string{
		"etc/abide.toml":          "[services.one]\ncommand = 'one'\n",
		"etc/services/pool@.toml": "command = 'pool'\ninstances = ['a']",
		"etc/services/web.toml":   "command = 'web'",
		"etc/services/gone.toml":  "command = 'gone'",
	})
	old := Load(system(root))
	write(t, root+"/etc/abide.toml", "[services.one\n")
	write(t, root+"/etc/services/pool@.toml", "command = 3\ninstances = ['a']")
	if err := os.Remove(root + "/etc/services/gone.toml"); err != nil {
		t.Fatal(err)
	}
	s := Load(system(root))
	s.Keep(old.Services)
	if s.Broken["one"] == nil || s.Broken["pool@a"] == nil || s.Broken["gone"] != nil || s.Services["web"] == nil {
		t.Errorf("broken %v", s.Broken)
	}
	if err := os.Chmod(root+"/etc/services", 0o777); err != nil {
		t.Fatal(err)
	}
	s = Load(system(root))
	s.Keep(old.Services)
	if len(s.Services) != 0 || s.Broken["web"] == nil {
		t.Errorf("a folder that cannot be trusted makes services vanish: %v", s.Broken)
	}
}

func TestCheckJudgesFilesFoldersAndDropIns(t *testing.T) {
	root := tree(t, map[string]string{
		"web.toml":             "command = 'x'\nusr = 'www'\n",
		"fine.toml":            "command = 'x'\n",
		"fine.toml.d/a.toml":   "nice = 1\n",
		"t@.toml.d/a.toml":     "instances = ['a']\n",
		"web.toml.d/bad.toml":  "nice = 99\n",
		"web.toml.d/lack.toml": "pid_file = '/x'\ncommand = ['x', '${credentials_dir}']\nready.timeout = '3s'\nhealth.interval = '3s'\nrestart.short.delay = '3s'\n",
		"Procfile":             "x\n",
		"p/abide.toml":         "sources = ['x']\nuser = 'x'\n[web]\ncommand = 'x'\n[defaults]\nfoo = 1\ncommand = 'x'\n[services]\nb = 1\n",
	})
	for path, want := range map[string]string{
		"web.toml":             "web.toml:2:1: error: unknown key usr [unknown-key]",
		"fine.toml":            "",
		"fine.toml.d":          "",
		"fine.toml.d/a.toml":   "",
		"t@.toml.d":            "",
		"web.toml.d/bad.toml":  "web.toml.d/bad.toml:1:8: error: cannot use nice 99: it must be from -20 to 19 [bad-value]",
		"web.toml.d/lack.toml": "",
		"Procfile":             "Procfile:1:1: error: cannot read the line: a Procfile holds lines of NAME: COMMAND [syntax]",
		"absent":               "absent: error: cannot read absent: no such file or directory [unreadable]",
		"p": `p/abide.toml:1:1: error: cannot use sources: this version reads no foreign sources yet [not-supported]
p/abide.toml:2:1: error: user is a key of a service, not of abide.toml [misplaced-key]
p/abide.toml:3:2: error: unknown key web [unknown-key]
p/abide.toml:6:1: error: unknown key foo [unknown-key]
p/abide.toml:7:1: error: cannot use command in [defaults]: each service has its own [conflict]
p/abide.toml:9:5: error: cannot use services.b: it takes a table, not a number [wrong-type]`,
	} {
		list := Check([]string{filepath.Join(root, path)})
		if got := messages(list, root); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
		}
	}
	if list := Check([]string{root}); len(list.Errors()) != 2 {
		t.Errorf("the folder gives %v", list)
	}
}

func TestTenThousandDefinitionsLoad(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "etc/services")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 10_000 {
		write(t, fmt.Sprintf("%s/svc%d.toml", dir, i), "description = \"one of many\"\ncommand = \"/usr/bin/sleep 1000\"\nuser = \"nobody\"\n[stop]\ntimeout = \"5s\"\n")
	}
	start := time.Now()
	s := Load(system(root))
	t.Logf("10,000 definitions in %v", time.Since(start))
	if len(s.Services) != 10_000 || len(s.Diags) > 0 {
		t.Errorf("%d services, %d diagnostics", len(s.Services), len(s.Diags))
	}
	if svc, _ := s.Reread("svc77"); svc == nil || s.Changed("svc78") {
		t.Error("cannot read one of many again")
	}
}

func TestParseReadsFromMemoryByName(t *testing.T) {
	services, diags := Parse([]byte("command = 'x'\n"), "web.toml", format.Settings{})
	if len(diags) > 0 || len(services) != 1 || services[0].Name != "web" || services[0].Root != "/" {
		t.Errorf("got %v, %v", services, diags)
	}
	if _, diags := Parse([]byte("x"), "web.conf", format.Settings{}); !diags.HasErrors() {
		t.Error("an unknown format is no error")
	}
}

func BenchmarkChangedOfAThousand(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "etc/services")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		b.Fatal(err)
	}
	for i := range 1000 {
		if err := os.WriteFile(fmt.Sprintf("%s/svc%d.toml", dir, i), []byte("command = 'web'"), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	s := Load(system(filepath.Dir(filepath.Dir(dir))))
	b.ReportAllocs()
	for b.Loop() {
		look := s.Look()
		for name := range s.Services {
			if look.Changed(name) {
				b.Fatal("changed")
			}
		}
	}
}
