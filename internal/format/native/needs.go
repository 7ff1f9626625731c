package native

import (
	"slices"
	"strings"

	"github.com/abide-project/abide/internal/diag"
	"github.com/abide-project/abide/internal/format/tomltree"
	"github.com/abide-project/abide/internal/model"
)

// This file reads and writes what a service needs of others.

// needKeys are the lists of dependencies. What an element may say beside the name
// is what has a meaning for that kind of edge: a file cannot be conflicted with,
// and what only orders ends nobody.
var needKeys = []Key{
	needKey("requires", "What must be up before it and while it starts. It is pulled up; a name that nobody has is an error.", allOfIt, func(n *model.Needs) *[]model.Dependency { return &n.Requires }),
	needKey("wants", "What is pulled up with it. It waits until each is up or has failed.", allOfIt, func(n *model.Needs) *[]model.Dependency { return &n.Wants }),
	needKey("after", "What it is started after and stopped before, if both are to run.", needRule{until: true}, func(n *model.Needs) *[]model.Dependency { return &n.After }),
	needKey("before", "What is started after it, if both are to run.", needRule{until: true}, func(n *model.Needs) *[]model.Dependency { return &n.Before }),
	needKey("conflicts", "What cannot run beside it. An explicit start of one stops the other.", needRule{}, func(n *model.Needs) *[]model.Dependency { return &n.Conflicts }),
	needKey("part_of", "Whose stop and restart it follows; their start it does not.", needRule{}, func(n *model.Needs) *[]model.Dependency { return &n.PartOf }),
	needKey("wanted_by", "What pulls it up, as if they said wants.", needRule{until: true, restart: true}, func(n *model.Needs) *[]model.Dependency { return &n.WantedBy }),
	needKey("required_by", "What needs it, as if they said requires.", needRule{until: true, restart: true}, func(n *model.Needs) *[]model.Dependency { return &n.RequiredBy }),
	{Path: "any_of", Type: "list of lists of services", Default: "[]", Doc: "Of each list one must be up. If none is, the first is pulled up.", read: readAnyOf, write: writeAnyOf},
	needKey("optional_all", "What it waits for if it comes by itself. Nothing is pulled up.", allOfIt, func(n *model.Needs) *[]model.Dependency { return &n.OptionalAll }),
	needKey("exclude_all", "It waits while one of these runs, or one of these files is there. Nothing is stopped.", needRule{file: true}, func(n *model.Needs) *[]model.Dependency { return &n.ExcludeAll }),
}

// needRule is what an element of a list may say.
type needRule struct{ file, until, restart bool }

var allOfIt = needRule{file: true, until: true, restart: true}

func needKey(path, doc string, rule needRule, field func(*model.Needs) *[]model.Dependency) Key {
	return Key{Path: path, Type: "list of services", Default: "[]", Doc: doc,
		read: func(r *reader, path string, v *tomltree.Value) {
			if v.Kind != tomltree.Array {
				r.wrong(path, v, "a list", listHint(path, v))
				return
			}
			*field(&r.svc.Needs) = r.dependencies(path, v, rule)
		},
		write: func(s *model.Service) string { return dependenciesOut(*field(&s.Needs)) },
	}
}

func listHint(path string, v *tomltree.Value) string {
	if v.Kind == tomltree.String {
		return "write " + path + " = [" + quote(v.Text) + "]"
	}
	return ""
}

func readAnyOf(r *reader, path string, v *tomltree.Value) {
	if v.Kind != tomltree.Array {
		r.wrong(path, v, "a list of lists", `as in any_of = [["mysql", "mariadb"]]`)
		return
	}
	var sets [][]model.Dependency
	for _, item := range v.Items {
		switch {
		case item.Kind != tomltree.Array:
			r.wrong(path, item, "a list of lists", `as in any_of = [["mysql", "mariadb"]]`)
			return
		case len(item.Items) == 0:
			r.fail(item.Pos, "bad-value", "", "cannot use any_of: nothing can be up of an empty list")
		default:
			if set := r.dependencies(path, item, allOfIt); len(set) > 0 {
				sets = append(sets, set)
			}
		}
	}
	r.svc.Needs.AnyOf = sets
}

// dependencies reads the elements of a list. What [defaults] say of all services
// is not for the one that it names.
func (r *reader) dependencies(path string, v *tomltree.Value, rule needRule) []model.Dependency {
	var out []model.Dependency
	seen := make(map[[2]string]bool, len(v.Items))
	for _, item := range v.Items {
		d, ok := r.dependency(path, item, rule)
		switch {
		case !ok, d.Service == r.svc.Name && !r.isOwn(path):
			continue
		case d.Service != "":
			r.svc.Origin[path+"."+d.Service] = item.Pos
		}
		if key := [2]string{d.Service, d.File}; seen[key] {
			r.fail(item.Pos, "duplicate", "keep one of the two", "cannot use %s twice in %s", d.Service+d.File, path)
		} else {
			seen[key] = true
			out = append(out, d)
		}
	}
	return out
}

func (r *reader) dependency(path string, v *tomltree.Value, rule needRule) (model.Dependency, bool) {
	var d model.Dependency
	ok := true
	switch v.Kind {
	case tomltree.String:
		d.Service, ok = r.serviceName(path, v)
	case tomltree.Table:
		ok = r.inline(path, v, []inlineKey{
			{"service", func(v *tomltree.Value) bool {
				var ok bool
				d.Service, ok = r.serviceName(path, v)
				return ok
			}},
			{"file", func(v *tomltree.Value) bool {
				var ok bool
				d.File, ok = r.ownText(path, v)
				return ok
			}},
			{"until", func(v *tomltree.Value) bool {
				w, ok := r.word("until", v, []string{"started", "ready", "finished"})
				d.Until = untilWords[w]
				return ok
			}},
			{"restart", func(v *tomltree.Value) bool {
				w, ok := r.word("restart", v, []string{"none", "error", "restart", "reload"})
				d.Restart = restartWords[w]
				return ok
			}},
		})
		if ok {
			ok = r.sensible(path, v, d, rule)
		}
	default:
		r.wrong(path, v, "names of services", `as in ["postgres", { service = "redis", until = "started" }]`)
		ok = false
	}
	return d, ok
}

var (
	untilWords   = map[string]model.Until{"started": model.UntilStarted, "ready": model.UntilReady, "finished": model.UntilFinished}
	restartWords = map[string]model.RestartOn{"error": model.RestartOnError, "restart": model.RestartOnRestart, "reload": model.RestartOnReload}
)

// sensible refuses what has no meaning for a kind of dependency.
func (r *reader) sensible(path string, v *tomltree.Value, d model.Dependency, rule needRule) bool {
	place := func(key string) diag.Pos {
		if f := v.Get(key); f != nil {
			return f.Pos
		}
		return v.Pos
	}
	switch {
	case d.Service == "" && d.File == "":
		r.fail(v.Pos, "missing", `as in { service = "postgres" } or { file = "/run/ready" }`, "cannot use %s: neither a service nor a file is named", path)
	case d.Service != "" && d.File != "":
		r.fail(place("file"), "conflict", "write two elements", "cannot use both service and file in one element of %s", path)
	case d.File != "" && !rule.file:
		r.fail(place("file"), "bad-value", "requires, wants, any_of, optional_all and exclude_all may name files", "cannot use a file in %s", path)
	case d.File != "" && v.Get("until") != nil:
		r.fail(place("until"), "conflict", "a file counts as soon as it is there", "cannot use until with a file")
	case d.File != "" && v.Get("restart") != nil:
		r.fail(place("restart"), "conflict", "a file is looked for before a start only", "cannot use restart with a file")
	case v.Get("until") != nil && !rule.until:
		r.fail(place("until"), "no-effect", "", "cannot use until in %s: it waits for nothing", path)
	case v.Get("restart") != nil && !rule.restart:
		r.fail(place("restart"), "no-effect", "requires, wants, any_of, optional_all, wanted_by and required_by know it", "cannot use restart in %s", path)
	default:
		return true
	}
	return false
}

// serviceName reads the name of another service.
func (r *reader) serviceName(path string, v *tomltree.Value) (string, bool) {
	name, ok := r.ownText(path, v)
	if !ok {
		return "", false
	}
	hint := ""
	switch bare := strings.TrimSuffix(strings.TrimSuffix(name, ".toml"), ".service"); {
	case strings.HasPrefix(name, "/"):
		hint = "write { file = " + quote(name) + " } for a file"
	case bare != name:
		hint = "write the name alone, " + quote(bare)
		if model.ValidName(name) == nil {
			r.fail(v.Pos, "bad-name", hint, "cannot use %s in %s: that is the name of a file", quote(name), path)
			return "", false
		}
	case strings.HasSuffix(name, "@"):
		hint = "write " + quote(strings.TrimSuffix(name, "@")) + " for all its instances"
	case name == model.Reserved:
		r.fail(v.Pos, "bad-name", "leave it out: abide is up whenever a service is", "cannot use abide in %s: it is no service", path)
		return "", false
	}
	if err := model.ValidName(name); err != nil {
		r.fail(v.Pos, "bad-name", hint, "%s", strings.Replace(err.Error(), "cannot name a service", "cannot use service", 1))
		return "", false
	}
	return name, true
}

// ownText is a text in which ${name} and ${instance} stand for those of the
// service. They are known when the definition is read.
func (r *reader) ownText(path string, v *tomltree.Value) (string, bool) {
	text, ok := r.text(path, v)
	if !ok {
		return "", false
	}
	out, err := model.Expand(text, func(name string) (string, bool) {
		switch name {
		case "name":
			return r.svc.Name, true
		case "instance":
			return r.svc.Instance, r.svc.Instance != ""
		}
		return "", false
	})
	if err == nil {
		return out, true
	}
	offset := 0
	if e, isExpand := err.(*model.ExpandError); isExpand {
		offset = e.Offset
	}
	r.fail(v.At(offset), "expansion", "only ${name} and ${instance} are known here, ${instance} in a template", "%s", err)
	return "", false
}

// inlineKey is a key of a table that stands as an element of a list.
type inlineKey struct {
	name string
	read func(v *tomltree.Value) bool
}

// inline reads such a table and reports whether all of it was understood.
func (r *reader) inline(path string, t *tomltree.Value, known []inlineKey) bool {
	ok := true
	for _, f := range t.Fields {
		i := slices.IndexFunc(known, func(k inlineKey) bool { return k.name == f.Key })
		if i >= 0 {
			ok = known[i].read(f.Value) && ok
			continue
		}
		ok = false
		names := make([]string, len(known))
		for i, k := range known {
			names[i] = k.name
		}
		hint := "it knows " + strings.Join(names, " ")
		if near := diag.Nearest(f.Key, names); near != "" {
			hint = "did you mean " + near + "?"
		}
		r.fail(f.Pos, "unknown-key", hint, "unknown key %s in %s", shown(f.Key), path)
	}
	return ok
}

func dependenciesOut(list []model.Dependency) string {
	if len(list) == 0 {
		return ""
	}
	parts := make([]string, len(list))
	for i, d := range list {
		parts[i] = dependencyOut(d)
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

func dependencyOut(d model.Dependency) string {
	if d.File != "" {
		return "{ file = " + quote(model.Quote(d.File)) + " }"
	}
	out := quote(d.Service)
	if d.Until == model.UntilDefault && d.Restart == model.RestartOnNone {
		return out
	}
	out = "{ service = " + out
	if d.Until != model.UntilDefault {
		out += ", until = " + quote(d.Until.String())
	}
	if d.Restart != model.RestartOnNone {
		out += ", restart = " + quote(d.Restart.String())
	}
	return out + " }"
}

func writeAnyOf(s *model.Service) string {
	if len(s.Needs.AnyOf) == 0 {
		return ""
	}
	sets := make([]string, len(s.Needs.AnyOf))
	for i, set := range s.Needs.AnyOf {
		sets[i] = dependenciesOut(set)
	}
	return "[" + strings.Join(sets, ", ") + "]"
}
