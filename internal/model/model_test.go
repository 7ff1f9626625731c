package model

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/abide-project/abide/internal/diag"
)

func TestNamesFollowTheRule(t *testing.T) {
	for name, ok := range map[string]bool{
		"web": true, "0": true, "_x": true, "a.b:c-d_e": true, "web@2": true, "web@a.b": true, "getty@tty1": true,
		strings.Repeat("a", 128): true, strings.Repeat("a", 129): false,
		"": false, ".": false, "..": false, "-x": false, ".hidden": false, ":x": false, "a/b": false, "../a": false, "a b": false, "ä": false,
		"a\x00b": false, "abide": false, "abide@x": false, "abider": true, "web@": false, "web@@x": false, "web@-x": false, "@x": false, "a\n": false,
	} {
		if err := ValidName(name); (err == nil) != ok {
			t.Errorf("ValidName(%q) = %v", name, err)
		}
	}
	if ValidTemplate("web@") != nil || ValidTemplate("web") == nil || ValidTemplate("@") == nil || ValidTemplate("web@x@") == nil {
		t.Error("templates")
	}
	if ValidInstance("a.b:1") != nil || ValidInstance("") == nil || ValidInstance("a@b") == nil || ValidInstance(strings.Repeat("a", 65)) == nil {
		t.Error("instances")
	}
	if base, instance := SplitName("web@2"); base != "web" || instance != "2" {
		t.Error(base, instance)
	}
}

func TestSignalsByNameAndNumber(t *testing.T) {
	for text, want := range map[string]int{
		"TERM": 15, "SIGTERM": 15, "term": 15, "sigkill": 9, "15": 15, "CLD": 17, "IOT": 6, "RTMIN": 34, "RTMIN+3": 37, "SIGRTMIN+30": 64, "RTMAX": 64, "RTMAX-1": 63, "PWR": 30,
	} {
		if got, err := ParseSignal(text); err != nil || got != want {
			t.Errorf("ParseSignal(%q) = %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "0", "65", "-1", "TREM", "RTMIN-1", "RTMAX+1", "RTMIN+31", "RTMIN+", "RTMIN+x", "SIG", "SIGSIGTERM", "RTMAX-99"} {
		if got, err := ParseSignal(text); err == nil {
			t.Errorf("ParseSignal(%q) = %d", text, got)
		}
	}
	if _, err := ParseSignal("TREM"); !strings.Contains(err.Error(), "did you mean TERM?") {
		t.Error(err)
	}
	for n := 1; n <= 64; n++ {
		if got, err := ParseSignal(SignalName(n)); err != nil || got != n {
			t.Errorf("signal %d is named %q, which is %d, %v", n, SignalName(n), got, err)
		}
	}
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0s": 0, "10s": 10 * time.Second, "1.5h": 90 * time.Minute, "1h30m": 90 * time.Minute, "1h 30m": 90 * time.Minute, "2w": 14 * day, "1d": day,
		"500us": 500 * time.Microsecond, "500µs": 500 * time.Microsecond, "7ns": 7, " 5 ms ": 5 * time.Millisecond, ".5s": 500 * time.Millisecond,
	} {
		if got, err := ParseDuration(text); err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"10": `cannot use time "10": a unit is missing, write "10s" or another of ns us ms s m h d w`, "": "cannot use an empty time", "-1s": "write a number and a unit",
		"1y": `unknown unit "y"`, "1.2.3s": `"1.2.3" is not a number`, "99999999999w": "it is too long", "1M": `unknown unit "M"`, "s": "write a number and a unit", "infinity": "write a number and a unit",
	} {
		if got, err := ParseDuration(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseDuration(%q) = %v, %v", text, got, err)
		}
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "4096": 4096, "16MiB": 16 << 20, "16M": 16 << 20, "1K": 1024, "1KiB": 1024, "2G": 2 << 30, "1kB": 1000, "16MB": 16e6, "1GB": 1e9, "1.5GiB": 3 << 29, "12 B": 12, "1T": 1 << 40,
	} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "x", "-1", "1m", "1 megs", "1.3B", "99999999P", "1K 2K", "1e3", "NaN"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("ParseSize(%q) = %d", text, got)
		}
	}
}

func FuzzUnitsReadBackWhatTheyWrite(f *testing.F) {
	f.Add("1h30m", int64(90))
	f.Add("16MiB", int64(math.MaxInt64/4))
	f.Fuzz(func(t *testing.T, text string, n int64) {
		if d, err := ParseDuration(text); err == nil {
			if back, err := ParseDuration(FormatDuration(d)); err != nil || back != d {
				t.Errorf("%q is %d, written %q, read %d, %v", text, d, FormatDuration(d), back, err)
			}
			if d < 0 {
				t.Errorf("%q is negative", text)
			}
		}
		if size, err := ParseSize(text); err == nil {
			if back, err := ParseSize(FormatSize(size)); err != nil || back != size || size < 0 {
				t.Errorf("%q is %d, written %q, read %d, %v", text, size, FormatSize(size), back, err)
			}
		}
		if n >= 0 && n < math.MaxInt64/2 {
			if back, err := ParseSize(FormatSize(n)); err != nil || back != n {
				t.Errorf("%d written %q, read %d, %v", n, FormatSize(n), back, err)
			}
			if back, err := ParseDuration(FormatDuration(time.Duration(n))); err != nil || back != time.Duration(n) {
				t.Errorf("%d written %q, read %d, %v", n, FormatDuration(time.Duration(n)), back, err)
			}
		}
		_, _ = ParseSignal(text)
		_ = ValidName(text)
	})
}

func lookup(name string) (string, bool) {
	v, ok := map[string]string{"A": "1", "EMPTY": "", "RAW": "${A}", "name": "web"}[name]
	return v, ok
}

func TestExpand(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "plain $A $$": "plain $A $$", "${A}": "1", "x${A}y${name}": "x1yweb", "${EMPTY}": "", "${EMPTY:-d}": "d", "${NO:-d}": "d", "${NO:-}": "", "${NO:-${A}}": "1", "${NO:-${NO:-x}y}": "xy",
		"$${A}": "${A}", "$$${A}": "$${A}", "${RAW}": "${A}", "${NO:-$${A}}": "${A}", "a}b": "a}b", "${NO:-a b}": "a b",
	} {
		if got, err := Expand(text, lookup); err != nil || got != want {
			t.Errorf("Expand(%q) = %q, %v, want %q", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"${NO}": "cannot expand ${NO}: it is not set", "${": "closing } is missing", "${A": "closing } is missing", "${}": `"" is not a name`, "${1}": "is not a name", "${A-x}": "is not a name", "${NO:-${}}": "is not a name",
		strings.Repeat("${N:-", 20) + strings.Repeat("}", 20): "nested more than 8 deep",
	} {
		got, err := Expand(text, lookup)
		if err == nil || !strings.Contains(err.Error(), want) || got != "" {
			t.Errorf("Expand(%q) = %q, %v", text, got, err)
		}
	}
	_, err := Expand("ab ${X:-${NO}}", lookup)
	if e, ok := err.(*ExpandError); !ok || e.Offset != 8 || e.Name != "NO" {
		t.Errorf("got %#v", err)
	}
}

func TestVariablesListsWhatATextUses(t *testing.T) {
	got, err := Variables("${A}$${B} ${C:-${D}}")
	want := []Variable{{"A", 0, false}, {"C", 10, true}, {"D", 15, false}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
}

func FuzzExpand(f *testing.F) {
	for _, s := range []string{"${A}", "$${A}", "${NO:-${A}}", "${", "$$${A}}", "'${X}'"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		out, err := Expand(text, func(string) (string, bool) { return "v", true })
		_, err2 := Variables(text)
		if (err == nil) != (err2 == nil) && err2 == nil {
			t.Errorf("%q: Expand says %v, Variables %v", text, err, err2)
		}
		if err == nil && !strings.Contains(text, "${") && out != text {
			t.Errorf("%q became %q", text, out)
		}
		if back, err := Expand(Quote(text), lookup); err != nil || back != text {
			t.Errorf("quoted %q became %q, %v", text, back, err)
		}
	})
}

func TestSplitWordsLikeAShell(t *testing.T) {
	for text, want := range map[string][]string{
		"":                              nil,
		"  \t\n":                        nil,
		"a b\tc\nd":                     {"a", "b", "c", "d"},
		`a "b c" 'd e'f`:                {"a", "b c", "d ef"},
		`'' "" a''b`:                    {"", "", "ab"},
		`a\ b \"c\" \\`:                 {"a b", `"c"`, `\`},
		`"a\"b\\c\$d\n"`:                {`a"b\c$d\n`},
		"a\\\nb c \\\n d":               {"ab", "c", "d"},
		"\"a\\\nb\"":                    {"ab"},
		`'a\b"c'`:                       {`a\b"c`},
		`nginx -g 'daemon off;'`:        {"nginx", "-g", "daemon off;"},
		`${A} x${B:-c d}y "${E f}"`:     {"${A}", "x${B:-c d}y", "${E f}"},
		`'${A}' \${B} "\${C}" $${D}`:    {"$${A}", "$${B}", "$${C}", "$${D}"},
		`a=b`:                           nil,
		`x a=b`:                         {"x", "a=b"},
		`"A=1"`:                         {"A=1"},
		`x '$HOME' \$HOME 5$ a$`:        {"x", "$HOME", "$HOME", "5$", "a$"},
		`/bin/echo a#b '#c' "~" '*' \~`: {"/bin/echo", "a#b", "#c", "~", "*", "~"},
	} {
		words, issues := SplitWords(text)
		if text == "a=b" {
			if len(issues) != 1 || issues[0].Severity != diag.Error {
				t.Errorf("%q: %v", text, issues)
			}
			continue
		}
		if got := Argv(words); len(issues) > 0 || len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
			t.Errorf("SplitWords(%q) = %q, %v", text, got, issues)
		}
	}
}

func TestSplitWordsTellsWhatOnlyAShellUnderstands(t *testing.T) {
	for text, want := range map[string]string{
		"a | b": "2 error |", "a|b": "1 error |", "a || b": "2 error ||", "a && b": "2 error &&", "a; b": "1 error ;", "a &": "2 error &", "a < b": "2 error <", "a >> b": "2 error >>", "a 2>&1": "3 error >",
		"a `b`": "2 error `", "a $(b)": "2 error $(...)", "a 'b": "2 error '", `a "b`: `2 error "`, `a \`: `2 error \`, "a $B c": "2 warning $B", "a $1": "2 warning $1", "a $$": "2 warning $$", "a ~/x": "2 warning ~", "a *.c": "2 warning *", "a # b": "2 warning #",
		"exec a": "0 error exec", "cd /x": "0 error cd", "A=1 b": "0 error A=1", `a "$B"`: "3 warning $B",
	} {
		_, issues := SplitWords(text)
		if len(issues) == 0 {
			t.Errorf("%q: nothing is said", text)
			continue
		}
		i := issues[0]
		got := fmt.Sprintf("%d %s", i.Offset, i.Severity)
		parts := strings.SplitN(want, " ", 3)
		if got != parts[0]+" "+parts[1] || !strings.Contains(i.Message, parts[2]) || i.Hint == "" {
			t.Errorf("%q: got %s %q (hint %q), want %s", text, got, i.Message, i.Hint, want)
		}
	}
	_, issues := SplitWords("a 2>&1 | b")
	if len(issues) != 3 {
		t.Errorf("got %v", issues)
	}
}

func FuzzJoinedWordsSplitAgain(f *testing.F) {
	for _, s := range []string{"a b", "${A b}", "$${x", "'", "a=b|exec", "$HOME\n~", "\\", "# *", "a\x00b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		SplitWords(text)
		argv := strings.Split(text, "|")
		for _, arg := range argv {
			if _, err := Variables(arg); err != nil {
				return
			}
		}
		words, issues := SplitWords(JoinWords(argv))
		if got := Argv(words); !reflect.DeepEqual(got, argv) || len(issues) > 0 {
			t.Errorf("%q joined is %q, which splits into %q, %v", argv, JoinWords(argv), got, issues)
		}
	})
}

func TestDefaultsAreValidAndTheCallersOwn(t *testing.T) {
	for _, kind := range []Kind{Daemon, Task} {
		for _, essential := range []bool{false, true} {
			s := Defaults(kind, essential)
			s.Name, s.Command = "x", []string{"x"}
			if list := Validate(&s); len(list) > 0 {
				t.Errorf("defaults of %s: %v", kind, list)
			}
			if want := kind == Task || essential; (s.Restart.When == RestartNever) != want {
				t.Errorf("%s, essential %v: restarts %s", kind, essential, s.Restart.When)
			}
			s.Log.Stdout[0].Kind = LogNull
			s.Operators["view"][0] = "user:x"
		}
	}
	if s := Defaults(Daemon, false); s.Log.Stdout[0].Kind != LogFile || s.Operators["view"][0] != "*" {
		t.Error("defaults are shared")
	}
}

func TestDiffTellsChangesThatRestart(t *testing.T) {
	fresh := func() *Service {
		s := Defaults(Daemon, false)
		s.Name, s.Command = "x", []string{"a"}
		return &s
	}
	if got := Diff(fresh(), fresh()); len(got) != 0 || Worst(got) != Unchanged {
		t.Errorf("got %v", got)
	}
	for want, change := range map[string]func(*Service){
		"[{command restarts}] restarts":                       func(s *Service) { s.Command = []string{"b"} },
		"[{command restarts} {shell restarts}] restarts":      func(s *Service) { s.Command, s.Script, s.Shell = nil, "x", true },
		"[{environment restarts}] restarts":                   func(s *Service) { s.Environment = []EnvVar{{"A", "1"}} },
		"[{user restarts}] restarts":                          func(s *Service) { s.User = "www" },
		"[{directory restarts}] restarts":                     func(s *Service) { s.Root = "/srv" },
		"[{nice restarts}] restarts":                          func(s *Service) { n := 1; s.Nice = &n },
		"[{log.keep applies}] applies":                        func(s *Service) { s.Log.Keep = 3 },
		"[{restart.backoff applies}] applies":                 func(s *Service) { s.Restart.Backoff.Max = 1 },
		"[{rlimits applies}] applies":                         func(s *Service) { s.Rlimits = []Rlimit{{"nofile", 1, 1}} },
		"[{description applies} {operators applies}] applies": func(s *Service) { s.Description, s.Operators = "x", nil },
		"[] unchanged": func(s *Service) {
			s.Origin = map[string]diag.Pos{"user": {}}
			s.Files = []string{"x"}
			s.Environment = []EnvVar{}
		},
	} {
		s := fresh()
		change(s)
		got := Diff(fresh(), s)
		if text := fmt.Sprint(got, " ", Worst(got)); text != want {
			t.Errorf("got %s want %s", text, want)
		}
	}
}

// Every field of a service must be compared, or be named here with the reason.
func TestClassesOfKeys(t *testing.T) {
	for key, want := range map[string]Class{
		"command": Restarts, "directories.run": Restarts, "credentials.db": Restarts, "restart.limit.count": Applies, "requires": Applies, "ready.tcp": Applies,
		"log.keep": Applies, "environment": Restarts, "instances": Unchanged, "": Unchanged, "restart": Unchanged,
	} {
		if got := ClassOf(key); got != want {
			t.Errorf("a change of %q %s, not %s", key, got, want)
		}
	}
}

func TestDiffForgetsNoField(t *testing.T) {
	apart := map[string]string{"Name": "identity", "Template": "identity", "Instance": "identity", "Origin": "provenance", "Files": "provenance", "Root": "part of directory"}
	typ := reflect.TypeFor[Service]()
	var walk func(path string, typ reflect.Type, get func(*Service) reflect.Value)
	walk = func(path string, typ reflect.Type, get func(*Service) reflect.Value) {
		if typ.Kind() == reflect.Struct {
			for i := range typ.NumField() {
				f := typ.Field(i)
				if path == "" && apart[f.Name] != "" {
					continue
				}
				walk(path+"."+f.Name, f.Type, func(s *Service) reflect.Value { return get(s).Field(i) })
			}
			return
		}
		var a, b Service
		v := get(&b)
		switch v.Kind() {
		case reflect.String:
			v.SetString("x")
		case reflect.Bool:
			v.SetBool(true)
		case reflect.Float64:
			v.SetFloat(1)
		case reflect.Slice:
			v.Set(reflect.MakeSlice(typ, 1, 1))
		case reflect.Map:
			v.Set(reflect.MakeMap(typ))
			v.SetMapIndex(reflect.ValueOf("x"), reflect.ValueOf([]string{"y"}))
		case reflect.Pointer:
			v.Set(reflect.New(typ.Elem()))
		case reflect.Int, reflect.Int64:
			v.SetInt(1)
		default:
			v.SetUint(1)
		}
		if len(Diff(&a, &b)) == 0 {
			t.Errorf("a change of %s is not seen", path)
		}
	}
	walk("", typ, func(s *Service) reflect.Value { return reflect.ValueOf(s).Elem() })
}

func TestSecretsAreKnownByTheirNames(t *testing.T) {
	for name, want := range map[string]bool{"DB_PASSWORD": true, "api_key": true, "TOKEN": true, "MY_SECRET_X": true, "PATH": false, "PORT": false} {
		if IsSecret(name) != want {
			t.Error(name)
		}
	}
}

func TestValidateExpansionsChecksEveryText(t *testing.T) {
	s := Defaults(Daemon, false)
	s.Name, s.Command = "x", []string{"${ok}", "${"}
	s.Directory, s.Environment = "/${no}", []EnvVar{{"A", "${B}"}}
	s.Log.Stdout = []LogTarget{{Kind: LogPath, Path: "/${x}"}}
	s.EnvironmentFiles = []EnvFile{{Path: "/${y}"}}
	hook := Hook{Command: []string{"${PORT}", "${"}}
	s.Hooks = Hooks{BeforeStart: []Hook{hook}, AfterStart: []Hook{hook}, BeforeStop: []Hook{hook}, AfterStop: []Hook{hook}}
	s.OnFailure.Command = &hook
	s.Credentials = []Credential{{"a", "/${b}"}}
	s.Ready = Ready{TCP: "${c}", HTTP: "${d}", Exec: []string{"${PORT}", "${"}, File: "${e}"}
	s.Health = Health{TCP: "${f}", HTTP: "${g}", Exec: []string{"${PORT}", "${"}}
	if list := ValidateExpansions(&s); len(list.Errors()) != 5+5+1+4+3 {
		t.Errorf("got %v", list)
	}
}
