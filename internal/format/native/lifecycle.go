package native

import (
	"slices"
	"strconv"
	"strings"

	"github.com/abide-project/abide/internal/format/tomltree"
	"github.com/abide-project/abide/internal/model"
)

// This file reads and writes what surrounds a run: folders, credentials,
// conditions, and what follows a fault.

var directoryKeys = []Key{
	directoryKey("run", "Folder below /run, removed when the service has been stopped; RUNTIME_DIRECTORY.", func(d *model.Directories) *uint32 { return &d.Run }),
	directoryKey("state", "Folder below /var/lib; STATE_DIRECTORY.", func(d *model.Directories) *uint32 { return &d.State }),
	directoryKey("cache", "Folder below /var/cache; CACHE_DIRECTORY.", func(d *model.Directories) *uint32 { return &d.Cache }),
	directoryKey("logs", "Folder below /var/log; LOGS_DIRECTORY.", func(d *model.Directories) *uint32 { return &d.Logs }),
	directoryKey("config", "Folder below /etc; CONFIGURATION_DIRECTORY.", func(d *model.Directories) *uint32 { return &d.Config }),
	{Path: "directories.name", Type: "name of a folder", Default: "that of the service", Doc: "What these folders are called.", read: ownName(func(s *model.Service) *string { return &s.Directories.Name }), write: ownNameOut(func(s *model.Service) string { return s.Directories.Name })},
}

func directoryKey(leaf, doc string, field func(*model.Directories) *uint32) Key {
	return Key{Path: "directories." + leaf, Type: `true, "0750" or 0o750`, Default: "false", Doc: doc,
		read: func(r *reader, path string, v *tomltree.Value) {
			switch mode, ok := r.mode(path, v); {
			case v.Kind == tomltree.Bool && v.Bool:
				*field(&r.svc.Directories) = 0o755
			case v.Kind == tomltree.Bool:
				*field(&r.svc.Directories) = 0
			case ok:
				*field(&r.svc.Directories) = mode
			}
		},
		write: func(s *model.Service) string {
			if mode := *field(&s.Directories); mode != 0 {
				return quote("0" + strconv.FormatUint(uint64(mode), 8))
			}
			return ""
		},
	}
}

// mode reads permissions. A bool is the caller's to understand.
func (r *reader) mode(path string, v *tomltree.Value) (uint32, bool) {
	switch {
	case v.Kind == tomltree.Bool:
	case v.Kind == tomltree.String:
		n, err := strconv.ParseUint(strings.TrimPrefix(v.Text, "0o"), 8, 32)
		if err == nil && n > 0 && n <= model.MaxMode {
			return uint32(n), true
		}
		r.fail(v.Pos, "bad-value", "", "cannot use %s = %s: it takes octal digits up to %o", path, quote(v.Text), model.MaxMode)
	case v.Kind == tomltree.Integer && strings.HasPrefix(v.Text, "0o"):
		if v.Int > 0 && v.Int <= model.MaxMode {
			return uint32(v.Int), true
		}
		r.fail(v.Pos, "bad-value", "", "cannot use %s = %s: it takes octal digits up to %o", path, v.Text, model.MaxMode)
	case v.Kind == tomltree.Integer:
		r.fail(v.Pos, "bad-value", "write \"0"+v.Text+"\" or 0o"+v.Text+" if octal is meant", "cannot use %s = %s: the number is decimal", path, v.Text)
	default:
		r.wrong(path, v, "true or permissions", `as in "0750"`)
	}
	return 0, false
}

// ownName is a text in which ${name} and ${instance} are replaced at once.
func ownName(field func(*model.Service) *string) readFunc {
	return func(r *reader, path string, v *tomltree.Value) {
		s, ok := r.ownText(path, v)
		if ok && s == "" {
			r.fail(v.Pos, "bad-value", "leave the key out", "cannot use %s: it is empty", path)
		} else if ok {
			*field(r.svc) = s
		}
	}
}

func ownNameOut(get func(*model.Service) string) writeFunc {
	return textOut(func(s *model.Service) string { return model.Quote(get(s)) })
}

var conditionKeys = []Key{
	conditionKey("path_exists", "paths or patterns", "Each of these is there.", func(c *model.Conditions) *[]string { return &c.PathExists }),
	conditionKey("path_missing", "paths or patterns", "None of these is there.", func(c *model.Conditions) *[]string { return &c.PathMissing }),
	conditionKey("host", "patterns", "The name of the machine matches one of these.", func(c *model.Conditions) *[]string { return &c.Host }),
	conditionKey("kernel", `texts as ">= 5.10" or "*-rt*"`, "The kernel's release is one of these.", func(c *model.Conditions) *[]string { return &c.Kernel }),
	conditionKey("environment", `texts as "NAME", "NAME=VALUE" or "!NAME"`, "One of these holds for abide's own environment.", func(c *model.Conditions) *[]string { return &c.Environment }),
	conditionKey("user", "names or numbers", "abide runs as one of these.", func(c *model.Conditions) *[]string { return &c.User }),
}

func conditionKey(leaf, takes, doc string, field func(*model.Conditions) *[]string) Key {
	return Key{Path: "conditions." + leaf, Type: "list of " + takes, Default: "[]", Doc: doc,
		read: func(r *reader, path string, v *tomltree.Value) {
			items := []*tomltree.Value{v}
			if v.Kind == tomltree.Array {
				items = v.Items
			}
			var out []string
			for _, item := range items {
				if leaf == "user" {
					if s, ok := r.account(path, item); ok {
						out = append(out, s)
					}
				} else if s, ok := r.ownText(path, item); ok {
					out = append(out, s)
				}
				if len(out) > 0 {
					r.svc.Origin[path+"."+out[len(out)-1]] = item.Pos
				}
			}
			*field(&r.svc.Conditions) = out
		},
		write: func(s *model.Service) string {
			var out []string
			for _, text := range *field(&s.Conditions) {
				if leaf != "user" {
					text = model.Quote(text)
				}
				out = append(out, text)
			}
			return listOrNothing(out)
		},
	}
}

var failureKeys = []Key{
	{Path: "on_failure.start", Type: "list of services", Default: "[]", Doc: "Services that are started.", read: readFailureStart, write: func(s *model.Service) string { return listOrNothing(s.OnFailure.Start) }},
	{Path: "on_failure.command", Type: "text, list or { command, user, timeout, ... }", Default: "none", Doc: "A command that is run, with the last lines of output on its standard input.", read: readFailureCommand, write: func(s *model.Service) string {
		if s.OnFailure.Command == nil {
			return ""
		}
		return hookOut(*s.OnFailure.Command)
	}},
	{Path: "on_failure.webhook", Type: urlType, Default: "none", Doc: "An address that is told by a POST of JSON.", read: text(func(s *model.Service) *string { return &s.OnFailure.Webhook }), write: textOut(func(s *model.Service) string { return s.OnFailure.Webhook })},
}

func readFailureStart(r *reader, path string, v *tomltree.Value) {
	if v.Kind != tomltree.Array {
		r.wrong(path, v, "a list", strings.Replace(listHint(path, v), "on_failure.", "", 1))
		return
	}
	r.svc.OnFailure.Start = nil
	seen := make(map[string]bool, len(v.Items))
	for _, item := range v.Items {
		name, ok := r.serviceName(path, item)
		switch {
		case !ok:
		case name == r.svc.Name && !r.isOwn(path):
		case name == r.svc.Name:
			r.fail(item.Pos, "conflict", "restart.limit.retry_after lets it try again", "cannot use %s in %s: it has failed itself", name, path)
		case seen[name]:
			r.fail(item.Pos, "duplicate", "keep one of the two", "cannot use %s twice in %s", name, path)
		default:
			seen[name] = true
			r.svc.OnFailure.Start = append(r.svc.OnFailure.Start, name)
		}
	}
}

func readFailureCommand(r *reader, path string, v *tomltree.Value) {
	if v.Kind == tomltree.Array && len(v.Items) > 0 && !allTexts(v.Items) {
		r.wrong(path, v.Items[0], "one command", `write several services in on_failure.start`)
		return
	}
	if h, ok := r.hook(path, v); ok {
		r.svc.OnFailure.Command = &h
	}
}

func readCredentials(r *reader, path string, v *tomltree.Value) {
	if v.Kind != tomltree.Table {
		r.wrong(path, v, "a table", `write [credentials] on a line of its own, and db = "/etc/shop/db.pass" below`)
		return
	}
	for _, f := range v.Fields {
		key := path + "." + f.Key
		r.svc.Origin[key] = f.Value.Pos
		file, ok := r.text(key, f.Value)
		if !ok {
			continue
		}
		if keyByPath[f.Key] != nil && v.Header && !strings.Contains(file, "/") {
			r.fail(f.Pos, "misplaced-key", "move it above the first [table]", "%s belongs above the first [table], line %d", f.Key, r.firstHeader(v, f.Pos.File))
			continue
		}
		r.list = append(r.list, model.CheckExpand(file, false, f.Value.At)...)
		r.svc.Credentials = append(r.svc.Credentials, model.Credential{Name: f.Key, Path: file})
	}
	slices.SortFunc(r.svc.Credentials, func(a, b model.Credential) int { return strings.Compare(a.Name, b.Name) })
}

func writeCredentials(s *model.Service) []entry {
	var out []entry
	for _, c := range s.Credentials {
		out = append(out, entry{c.Name, quote(c.Path)})
	}
	return out
}
