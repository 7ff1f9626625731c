package model

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func on(service string) []Dependency { return []Dependency{{Service: service}} }

// What a reader of another format could put together is judged here, too.
func TestValidateRefusesWhatNoServiceCanBe(t *testing.T) {
	for want, change := range map[string]func(*Service){
		"a service cannot depend on itself":             func(s *Service) { s.Needs.Requires = on("x") },
		"cannot use x in before":                        func(s *Service) { s.Needs.Before = on("x") },
		"cannot use x in any_of":                        func(s *Service) { s.Needs.AnyOf = [][]Dependency{on("x")} },
		"cannot use abide in wants: it is no service":   func(s *Service) { s.Needs.Wants = on("abide") },
		"it is no name of a service":                    func(s *Service) { s.Needs.After = on("a/b") },
		"neither a service nor a file":                  func(s *Service) { s.Needs.After = on("") },
		"of an empty list":                              func(s *Service) { s.Needs.AnyOf = [][]Dependency{{}} },
		`requires = "run/x": it is not an absolute`:     func(s *Service) { s.Needs.Requires = []Dependency{{File: "run/x"}} },
		"cannot use db in exclude_all: wants asks for":  func(s *Service) { s.Needs.Wants, s.Needs.ExcludeAll = on("db"), on("db") },
		"cannot use before_start: it has no command":    func(s *Service) { s.Hooks.BeforeStart = []Hook{{Timeout: 1}} },
		"cannot use after_stop with a timeout of 0s":    func(s *Service) { s.Hooks.AfterStop = []Hook{{Script: "x"}} },
		"cannot use 65 commands in before_stop":         func(s *Service) { s.Hooks.BeforeStop = make([]Hook, 65) },
		"both ready.notify and ready.file":              func(s *Service) { s.Ready.Notify, s.Ready.File = true, "/x" },
		"cannot use ready.log: it is no regular":        func(s *Service) { s.Ready.Log = "(" },
		`cannot use ready.file = "x"`:                   func(s *Service) { s.Ready.File = "x" },
		`cannot use ready.timeout = "0s"`:               func(s *Service) { s.Ready.Notify, s.Ready.Timeout = true, 0 },
		"cannot use ready.exec: the name of its":        func(s *Service) { s.Ready.Exec = []string{""} },
		"cannot use health.failures = 256":              func(s *Service) { s.Health.TCP, s.Health.Failures = "a:1", 256 },
		"cannot use health.exec: a task ends by itself": func(s *Service) { s.Kind, s.Health.Exec = Task, []string{"x"} },
		"cannot use directories.run = 10000":            func(s *Service) { s.Directories.Run = 0o10000 },
		`directories.name = ".."`:                       func(s *Service) { s.Directories.Name = ".." },
		`cannot use credential "a/b"`:                   func(s *Service) { s.Credentials = []Credential{{"a/b", "/x"}} },
		`cannot use credentials.a = "x": it is not an`:  func(s *Service) { s.Credentials = []Credential{{"a", "x"}} },
		"cannot use credential a: its path is empty":    func(s *Service) { s.Credentials = []Credential{{"a", ""}} },
		"x has no [credentials]":                        func(s *Service) { s.Command = []string{"x", "${credentials_dir}/a"} },
		`cannot use "[" in conditions.host`:             func(s *Service) { s.Conditions.Host = []string{"["} },
		`cannot use service "a b" in on_failure.start`:  func(s *Service) { s.OnFailure.Start = []string{"a b"} },
		"cannot use on_failure.command: it has no":      func(s *Service) { s.OnFailure.Command = &Hook{Timeout: 1} },
		"cannot use on_failure.webhook: it does not":    func(s *Service) { s.OnFailure.Webhook = "mailto:x" },
		"cannot use command: x is a target":             func(s *Service) { s.Kind = Target },
		"cannot use essential: x is a target":           func(s *Service) { s.Kind, s.Command, s.Essential = Target, nil, true },
		"cannot use after_start: x is a target":         func(s *Service) { s.Kind, s.Hooks.AfterStart = Target, []Hook{{Script: "x", Timeout: 1}} },
		"cannot use a kind numbered 9":                  func(s *Service) { s.Kind = 9 },
		"cannot use pid_file: x is a daemon":            func(s *Service) { s.PidFile = "/run/x.pid" },
		`pid_file = "x.pid": it is not an absolute`:     func(s *Service) { s.Kind, s.PidFile = Forking, "x.pid" },
		"abide does not see the output of x": func(s *Service) {
			s.Ready.Log, s.Log.Stdout, s.Log.Stderr = "x", []LogTarget{{Kind: LogNull}}, []LogTarget{{Kind: LogInherit}}
		},
		"cannot use credentials with chroot":      func(s *Service) { s.Credentials, s.Chroot = []Credential{{"a", "/x"}}, "/x" },
		"restart.short.after = 256":               func(s *Service) { s.Restart.Short = Short{Under: 1, After: 256} },
		"cannot use restart.short.counted: below": func(s *Service) { s.Restart.Short.Counted = true },
		"restart.limit.failures_in_a_row = 256":   func(s *Service) { s.Restart.Limit.InRow = 256 },
		"restart.limit.failures_in_a_row = -1":    func(s *Service) { s.Restart.Limit.InRow = -1 },
		"below what age a run is short":           func(s *Service) { s.Restart.Short.Delay = time.Second },
		"cannot use restart.spacing":              func(s *Service) { s.Restart.Spacing = -1 },
	} {
		s := Defaults(Daemon, false)
		s.Name, s.Command = "x", []string{"/bin/x"}
		change(&s)
		if list := Validate(&s); !list.HasErrors() || !strings.Contains(list.String(), want) {
			t.Errorf("want %q, got %v", want, list)
		}
	}
}

func TestATargetNeedsNoProgram(t *testing.T) {
	s := Defaults(Target, false)
	s.Name, s.Needs.Requires = "x", on("db")
	if list := Validate(&s); len(list) > 0 {
		t.Error(list)
	}
}

func TestAddressesOfProbes(t *testing.T) {
	for text, ok := range map[string]bool{
		"127.0.0.1:80": true, "db.example.org:65535": true, "[::1]:1": true, "host_with-all.1:5": true,
		"": false, "80": false, ":80": false, "host": false, "host:": false, "host:0": false, "host:65536": false, "host:http": false,
		"::1:80": false, "[::1:80": false, "[host]:80": false, "a b:80": false, "user@host:80": false, "host/x:80": false, "host:80 ": false,
	} {
		if err := checkAddress(text); (err == nil) != ok {
			t.Errorf("address %q: %v", text, err)
		}
	}
	for text, ok := range map[string]bool{
		"http://localhost": true, "https://[::1]:8443/a?b#c": true, "http://h:1/": true, "http://h?x": true, "http+unix://%2Frun%2Fweb.sock/up": true,
		"": false, "http://": false, "http:///x": false, "ftp://h/": false, "localhost:80": false, "http://h:port/": false, "http://h:0": false, "http://a@h/": false,
		"http://h/a b": false, "http://::1/": false, "http+unix://run/x": false, "http+unix:///run/x": false, "HTTP://h": false,
	} {
		if err := checkProbeURL(text); (err == nil) != ok {
			t.Errorf("web address %q: %v", text, err)
		}
	}
	if checkURL("http+unix://%2Frun%2Fx/") == nil {
		t.Error("a webhook cannot be a socket")
	}
}

func TestConditionsOnKernelAndEnvironment(t *testing.T) {
	for text, ok := range map[string]bool{
		">= 5.10": true, "<6": true, "= 6.1.0-18": true, "== 6": true, "!=5.4": true, "6.*": true, "*-rt*": true,
		"": false, ">=": false, ">= x": false, ">= 5.x": false, "~6": true, "5 6": false, "a>=5": false, "[6": false, ">= 99999999999": false,
	} {
		if err := checkKernel(text); (err == nil) != ok {
			t.Errorf("kernel %q: %v", text, err)
		}
	}
	for text, ok := range map[string]bool{
		"A": true, "!A": true, "A=": true, "A=b c=d": true, "": false, "!": false, "=x": false, "!A=b": false, "A B": false, "1A": false,
	} {
		if err := checkVariableCondition(text); (err == nil) != ok {
			t.Errorf("variable %q: %v", text, err)
		}
	}
}

func TestWebhooksAreShownWithoutTheirSecrets(t *testing.T) {
	for url, want := range map[string]string{
		"https://hooks.example.org/T0/B1/secret": "https://hooks.example.org/***", "https://h:1/?token=x": "https://h:1/***", "http://h#x": "http://h/***",
		"http://h": "http://h", "http://h/": "http://h/", "nonsense": "***", "": "***",
	} {
		if got := MaskURL(url); got != want {
			t.Errorf("%q is shown as %q", url, got)
		}
	}
}

func TestGrantsCountByTheirPatterns(t *testing.T) {
	s := Service{
		Operators: Operators{"view": {"group:all"}, "restart": {"user:dba"}, "stop": {"group:ops"}, "log": {"*"}},
		Grants: []Grant{
			{Role: "view", Who: []string{"*"}}, {Role: "restart"}, {Role: "stop"},
			{"*", "view", []string{"group:all"}}, {"*", "restart", []string{"group:ops"}}, {"d*", "restart", []string{"user:dba"}}, {"d*", "stop", []string{"group:ops"}},
		},
	}
	for _, c := range []struct {
		pattern string // that does not count
		want    Operators
	}{
		{"", s.Operators},
		{"d*", Operators{"view": {"group:all"}, "restart": {"group:ops"}, "log": {"*"}}},
		{"*", Operators{"view": {"*"}, "restart": {"user:dba"}, "stop": {"group:ops"}, "log": {"*"}}},
	} {
		if got := s.GrantedBy(func(p string) bool { return p != c.pattern }); !reflect.DeepEqual(got, c.want) {
			t.Errorf("without %q: %v", c.pattern, got)
		}
	}
	if len(s.Operators) != 4 {
		t.Error("the service itself was changed")
	}
}
