package native

import (
	"errors"
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"

	"github.com/abide-project/abide/internal/format/tomltree"
	"github.com/abide-project/abide/internal/model"
)

// This file reads and writes [ready] and [health].

const (
	addressType = `text as "127.0.0.1:5432"`
	urlType     = `text as "http://127.0.0.1:8080/ready"`
)

var readyKeys = []Key{
	duration("ready.after", "It counts as running once it has lived this long.", func(s *model.Service) *dur { return &s.Ready.After }),
	{Path: "ready.notify", Type: "bool", Doc: "It says READY=1 by sd_notify(3).", read: boolean(func(s *model.Service) *bool { return &s.Ready.Notify }), write: boolOut(func(s *model.Service) bool { return s.Ready.Notify })},
	optionalNumber("ready.fd", "3 to "+strconv.Itoa(model.MaxReadyFD), "It writes a line to this descriptor, which it finds open.", func(s *model.Service) *int { return &s.Ready.FD }),
	optionalText("ready.tcp", addressType, "It accepts connections there.", func(s *model.Service) *string { return &s.Ready.TCP }),
	optionalText("ready.http", urlType, "It answers a GET with 2xx or 3xx.", func(s *model.Service) *string { return &s.Ready.HTTP }),
	probeCommand("ready.exec", "A command that succeeds. It runs as the service does.", func(s *model.Service) *[]string { return &s.Ready.Exec }),
	{Path: "ready.log", Type: "regular expression (RE2)", Default: "none", Doc: "A line of its output matches.", read: readPattern, write: textOut(func(s *model.Service) string { return s.Ready.Log })},
	optionalText("ready.file", "path", "The file appears or is touched.", func(s *model.Service) *string { return &s.Ready.File }),
	duration("ready.timeout", "How long a sign may take; then the run is stopped.", func(s *model.Service) *dur { return &s.Ready.Timeout }),
}

var healthKeys = []Key{
	optionalText("health.http", urlType, "It answers a GET with 2xx or 3xx.", func(s *model.Service) *string { return &s.Health.HTTP }),
	optionalText("health.tcp", addressType, "It accepts connections there.", func(s *model.Service) *string { return &s.Health.TCP }),
	probeCommand("health.exec", "A command that succeeds. It runs as the service does.", func(s *model.Service) *[]string { return &s.Health.Exec }),
	{Path: "health.watchdog", Type: "duration", Default: "none", Doc: "It says WATCHDOG=1 by sd_notify(3) at least this often.", read: optionalDuration(func(s *model.Service) *dur { return &s.Health.Watchdog }), write: func(s *model.Service) string {
		if s.Health.Watchdog == 0 {
			return ""
		}
		return quote(model.FormatDuration(s.Health.Watchdog))
	}},
	duration("health.interval", "From the end of one check to the next.", func(s *model.Service) *dur { return &s.Health.Interval }),
	duration("health.timeout", "How long one check may take.", func(s *model.Service) *dur { return &s.Health.Timeout }),
	duration("health.grace", "The time after it is ready in which failed checks do not count.", func(s *model.Service) *dur { return &s.Health.Grace }),
	number("health.failures", "So many in a row mean that it is not well.", func(s *model.Service) *int { return &s.Health.Failures }),
	{Path: "health.action", Type: `"restart" or "degraded"`, Doc: "What happens then: it is restarted, or merely shown as degraded.", read: choice(map[string]func(s *model.Service){"restart": func(s *model.Service) { s.Health.Restart = true }, "degraded": func(s *model.Service) { s.Health.Restart = false }}), write: func(s *model.Service) string { return oneOf(s.Health.Restart, "restart", "degraded") }},
}

// optionalText is a text in which ${...} may stand and that must say something.
func optionalText(path, typ, doc string, field func(*model.Service) *string) Key {
	return Key{Path: path, Type: typ, Default: "none", Doc: doc,
		read: func(r *reader, path string, v *tomltree.Value) {
			s, ok := r.text(path, v)
			if !ok {
				if v.Kind == tomltree.Integer && strings.HasSuffix(path, ".tcp") {
					r.list[len(r.list)-1].Hint = "write " + quote("127.0.0.1:"+v.Text)
				}
				return
			}
			if s == "" {
				r.fail(v.Pos, "bad-value", "leave the key out", "cannot use %s: it is empty", path)
				return
			}
			r.list = append(r.list, model.CheckExpand(s, false, v.At)...)
			*field(r.svc) = s
		},
		write: textOut(func(s *model.Service) string { return *field(s) }),
	}
}

func optionalNumber(path, typ, doc string, field func(*model.Service) *int) Key {
	return Key{Path: path, Type: typ, Default: "none", Doc: doc,
		read: func(r *reader, path string, v *tomltree.Value) {
			n, ok := r.int(path, v)
			if ok && n == 0 {
				r.fail(v.Pos, "bad-value", "leave the key out", "cannot use %s = 0", path)
			} else if ok {
				*field(r.svc) = n
			}
		},
		write: func(s *model.Service) string {
			if n := *field(s); n != 0 {
				return strconv.Itoa(n)
			}
			return ""
		},
	}
}

func optionalDuration(field func(*model.Service) *dur) readFunc {
	return func(r *reader, path string, v *tomltree.Value) {
		d, ok := r.duration(path, v)
		if ok && d == 0 {
			r.fail(v.Pos, "bad-value", "leave the key out", "cannot use %s = %s", path, quote(v.Text))
		} else if ok {
			*field(r.svc) = d
		}
	}
}

func probeCommand(path, doc string, field func(*model.Service) *[]string) Key {
	return Key{Path: path, Type: "list or text", Default: "none", Doc: doc, read: auxCommand(field),
		write: func(s *model.Service) string { return listOrNothing(*field(s)) }}
}

func readPattern(r *reader, path string, v *tomltree.Value) {
	s, ok := r.text(path, v)
	if !ok {
		return
	}
	if s == "" {
		r.fail(v.Pos, "bad-value", "leave the key out", "cannot use %s: every line would match", path)
		return
	}
	if _, err := regexp.Compile(s); err != nil {
		offset, reason := 0, err.Error()
		var wrong *syntax.Error
		if errors.As(err, &wrong) {
			offset = max(strings.LastIndex(s, wrong.Expr), 0)
			reason = wrong.Code.String() + " at " + quote(wrong.Expr)
		}
		r.fail(v.At(offset), "bad-value", `a text in '...' keeps its \`, "cannot use %s = %s: %s", path, quote(s), reason)
		return
	}
	r.svc.Ready.Log = s
}
