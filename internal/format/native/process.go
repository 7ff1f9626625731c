package native

import (
	"math"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/abide-project/abide/internal/diag"
	"github.com/abide-project/abide/internal/format/tomltree"
	"github.com/abide-project/abide/internal/model"
)

// This file reads what a program is and how its process is set up, where the
// values have a form of their own.

func readCommand(r *reader, path string, v *tomltree.Value) {
	if !r.shell {
		r.svc.Command = r.command(path, v)
		return
	}
	if v.Kind == tomltree.Array {
		r.wrong(path, v, "one text when shell = true", "")
		return
	}
	if s, ok := r.text(path, v); ok {
		r.svc.Script = s
	}
}

// command reads argv from a list, or from a text by splitting it.
func (r *reader) command(path string, v *tomltree.Value) []string {
	switch v.Kind {
	case tomltree.String:
		words, issues := model.SplitWords(v.Text)
		bad := false
		for _, i := range issues {
			hint := i.Hint
			if path != "command" && !isHook(path) {
				hint = strings.Replace(hint, "set shell = true", `write ["/bin/sh", "-c", "..."]`, 1)
			}
			r.list.Add(i.Severity, v.At(i.Offset), "shell-syntax", hint, "%s", i.Message)
			bad = bad || i.Severity == diag.Error
		}
		if bad {
			return []string{"?"}
		}
		if len(words) == 0 {
			r.fail(v.Pos, "missing", "", "cannot use %s: it is empty", path)
			return []string{"?"}
		}
		for _, w := range words {
			r.list = append(r.list, model.CheckExpand(w.Text, true, func(n int) diag.Pos { return v.At(w.Offset + n) })...)
		}
		return model.Argv(words)
	case tomltree.Array:
		if len(v.Items) == 0 {
			r.fail(v.Pos, "missing", "", "cannot use %s: the list is empty", path)
			return []string{"?"}
		}
		argv := make([]string, 0, len(v.Items))
		for _, item := range v.Items {
			if s, ok := r.text("command", item); ok {
				r.list = append(r.list, model.CheckExpand(s, true, item.At)...)
				argv = append(argv, s)
			} else {
				argv = append(argv, "?")
			}
		}
		return argv
	}
	r.wrong(path, v, "a list or a text", "")
	return []string{"?"}
}

func auxCommand(field func(*model.Service) *[]string) readFunc {
	return func(r *reader, path string, v *tomltree.Value) { *field(r.svc) = r.command(path, v) }
}

var kinds = map[string]model.Kind{"daemon": model.Daemon, "task": model.Task, "forking": model.Forking, "target": model.Target}

// readKind judges the word; peek has set the kind before all else.
func readKind(r *reader, path string, v *tomltree.Value) {
	r.word(path, v, []string{"daemon", "task", "forking", "target"})
}

func readInstances(r *reader, path string, v *tomltree.Value) {
	if !r.template {
		r.fail(v.Pos, "conflict", "name the file NAME@.toml", "cannot use instances: %s is no template", r.svc.Name)
		return
	}
	items, ok := r.texts(path, v)
	if !ok {
		return
	}
	if len(items) > model.MaxScale {
		r.fail(v.Pos, "bad-value", "", "cannot use %d instances: at most %d are allowed", len(items), model.MaxScale)
		return
	}
	for _, item := range items {
		if err := model.ValidInstance(item.Text); err != nil {
			r.fail(item.Pos, "bad-name", "", "%s", err)
		} else if slices.Contains(r.instances, item.Text) {
			r.fail(item.Pos, "duplicate", "", "cannot use instance %s twice", item.Text)
		} else {
			r.instances = append(r.instances, item.Text)
		}
	}
}

func readScale(r *reader, path string, v *tomltree.Value) {
	if !r.template {
		r.fail(v.Pos, "conflict", "name the file NAME@.toml", "cannot use scale: %s is no template", r.svc.Name)
		return
	}
	if f := r.root.Get("instances"); f != nil {
		r.fail(v.Pos, "conflict", "keep one of the two", "cannot use both scale and instances (line %d)", f.Pos.Line)
		return
	}
	n, ok := r.int(path, v)
	if !ok {
		return
	}
	if n < 0 || n > model.MaxScale {
		r.fail(v.Pos, "bad-value", "", "cannot use scale = %d: it must be from 0 to %d", n, model.MaxScale)
		return
	}
	r.scale, r.scaled = n, true
}

func readGroups(r *reader, path string, v *tomltree.Value) {
	if v.Kind != tomltree.Array {
		r.wrong(path, v, "a list of names or numbers", "write groups = ["+quote(v.Text)+"]")
		return
	}
	r.svc.GroupsSet = true
	r.svc.Groups = nil
	for _, item := range v.Items {
		if g, ok := r.account(path, item); ok {
			r.svc.Groups = append(r.svc.Groups, g)
		}
	}
}

func readUmask(r *reader, path string, v *tomltree.Value) {
	switch {
	case v.Kind == tomltree.String:
		n, err := strconv.ParseUint(strings.TrimPrefix(v.Text, "0o"), 8, 32)
		if err != nil || n > 0o777 {
			r.fail(v.Pos, "bad-value", "", "cannot use umask = %s: it takes octal digits up to 777", quote(v.Text))
			return
		}
		r.svc.Umask = uint32(n)
	case v.Kind == tomltree.Integer && (strings.HasPrefix(v.Text, "0o") || v.Int == 0):
		r.svc.Umask = uint32(min(v.Int, math.MaxUint32))
	case v.Kind == tomltree.Integer:
		r.fail(v.Pos, "bad-value", "write \"0"+v.Text+"\" or 0o"+v.Text+" if octal is meant", "cannot use umask = %s: the number is decimal", v.Text)
	default:
		r.wrong(path, v, "an octal number", `as in umask = "022"`)
	}
}

func readEnvironment(r *reader, path string, v *tomltree.Value) {
	if v.Kind != tomltree.Table {
		hint := `write { NAME = "value" }`
		if v.Kind == tomltree.Array && len(v.Items) > 0 {
			if name, value, ok := strings.Cut(v.Items[0].Text, "="); ok {
				hint = "write { " + keyOut(name) + " = " + quote(value) + " }"
			}
		}
		r.wrong(path, v, "a table", hint)
		return
	}
	for _, f := range v.Fields {
		r.svc.Origin["environment."+f.Key] = f.Value.Pos
		value := f.Value.Text
		switch f.Value.Kind {
		case tomltree.String:
			r.list = append(r.list, model.CheckExpand(value, false, f.Value.At)...)
		case tomltree.Integer, tomltree.Float:
		case tomltree.Bool:
			r.wrong(path+"."+f.Key, f.Value, "a text or a number", "write "+quote(value)+" in quotes")
		default:
			r.wrong(path+"."+f.Key, f.Value, "a text or a number", "")
		}
		r.svc.Environment = append(r.svc.Environment, model.EnvVar{Name: f.Key, Value: value})
	}
	slices.SortFunc(r.svc.Environment, func(a, b model.EnvVar) int { return strings.Compare(a.Name, b.Name) })
}

func readEnvFiles(r *reader, path string, v *tomltree.Value) {
	items, ok := r.texts(path, v)
	if !ok {
		return
	}
	for _, item := range items {
		name, optional := strings.CutPrefix(item.Text, "-")
		if name == "" {
			r.fail(item.Pos, "bad-value", "", "cannot use environment_files: a path is empty")
			continue
		}
		r.list = append(r.list, model.CheckExpand(item.Text, false, item.At)...)
		r.svc.EnvironmentFiles = append(r.svc.EnvironmentFiles, model.EnvFile{Path: name, Optional: optional})
	}
}

func readInherit(r *reader, key string, v *tomltree.Value) {
	switch v.Kind {
	case tomltree.Bool:
		r.svc.Inherit = model.Inherit{All: v.Bool}
	case tomltree.Array:
		r.svc.Inherit = model.Inherit{}
		items, _ := r.texts(key, v)
		for _, item := range items {
			if _, err := path.Match(item.Text, ""); err != nil {
				r.fail(item.Pos, "bad-value", "", "cannot use pattern %q: it is not complete", item.Text)
			}
			r.svc.Inherit.Globs = append(r.svc.Inherit.Globs, item.Text)
		}
	default:
		r.wrong(key, v, "true, false or a list of patterns", "")
	}
}

func readPath(r *reader, path string, v *tomltree.Value) {
	items, ok := r.texts(path, v)
	if !ok {
		return
	}
	if len(items) == 0 {
		r.fail(v.Pos, "bad-value", "", "cannot use path: the list is empty")
	}
	r.svc.Path = nil
	for _, item := range items {
		r.svc.Path = append(r.svc.Path, item.Text)
	}
}

func readStdin(r *reader, path string, v *tomltree.Value) {
	if w, ok := r.word(path, v, []string{"null", "open", "tty"}); ok {
		r.svc.Stdin = map[string]model.Stdin{"null": model.StdinNull, "open": model.StdinOpen, "tty": model.StdinTTY}[w]
	}
}

func readTTY(r *reader, path string, v *tomltree.Value) {
	if v.Kind == tomltree.Bool {
		r.fail(v.Pos, "not-supported", `name a terminal, as in tty = "/dev/tty1"`, "cannot use tty = %s: this version makes no pseudo-terminals yet", v.Text)
		return
	}
	if s, ok := r.text(path, v); ok {
		r.svc.TTY = s
	}
}

// leveled reads "word" or "word:number".
func (r *reader) leveled(path string, v *tomltree.Value, words []string, standard int) (string, int, bool) {
	s, ok := r.text(path, v)
	if !ok {
		return "", 0, false
	}
	word, level, hasLevel := strings.Cut(s, ":")
	if !slices.Contains(words, word) {
		hint := ""
		if near := diag.Nearest(word, words); near != "" {
			hint = "did you mean " + quote(near) + "?"
		}
		r.fail(v.Pos, "bad-value", hint, "cannot use %s = %s: it takes %s", path, quote(s), quoteAll(words))
		return "", 0, false
	}
	if !hasLevel {
		return word, standard, true
	}
	n, err := strconv.Atoi(level)
	if err != nil {
		r.fail(v.At(len(word)+1), "bad-value", "", "cannot use %s = %s: %q is not a number", path, quote(s), level)
		return "", 0, false
	}
	return word, n, true
}

func readIOPriority(r *reader, path string, v *tomltree.Value) {
	if class, level, ok := r.leveled(path, v, []string{"best-effort", "idle", "realtime"}, 4); ok {
		if class == "idle" {
			level = 0
		}
		r.svc.IOPriority = &model.IOPriority{Class: class, Level: level}
	}
}

func readScheduler(r *reader, path string, v *tomltree.Value) {
	policy, priority, ok := r.leveled(path, v, []string{"batch", "fifo", "idle", "other", "rr"}, 0)
	if !ok {
		return
	}
	if priority == 0 && (policy == "fifo" || policy == "rr") {
		r.fail(v.Pos, "bad-value", "write "+quote(policy+":10"), "cannot use scheduler = %s: it needs a priority from 1 to 99", quote(v.Text))
		return
	}
	r.svc.Scheduler = &model.Scheduler{Policy: policy, Priority: priority}
}

func readCPUs(r *reader, path string, v *tomltree.Value) {
	set := map[int]bool{}
	switch v.Kind {
	case tomltree.String:
		offset := 0
		for _, part := range strings.Split(v.Text, ",") {
			first, last, isRange := strings.Cut(strings.TrimSpace(part), "-")
			a, errA := strconv.ParseUint(first, 10, 13)
			b, errB := a, error(nil)
			if isRange {
				b, errB = strconv.ParseUint(last, 10, 13)
			}
			if errA != nil || errB != nil || b < a {
				r.fail(v.At(offset), "bad-value", `as in "0-3,7"`, "cannot use cpus = %s: %q is no range of processors", quote(v.Text), part)
				return
			}
			for n := a; n <= b; n++ {
				set[int(n)] = true
			}
			offset += len(part) + 1
		}
	case tomltree.Array:
		for _, item := range v.Items {
			n, ok := r.int(path, item)
			if !ok {
				return
			}
			set[n] = true
		}
		if len(set) == 0 {
			r.fail(v.Pos, "bad-value", "", "cannot use cpus: the list is empty")
		}
	default:
		r.wrong(path, v, "a text or a list of numbers", `as in cpus = "0-3,7"`)
		return
	}
	r.svc.CPUs = make([]int, 0, len(set))
	for n := range set {
		r.svc.CPUs = append(r.svc.CPUs, n)
	}
	slices.Sort(r.svc.CPUs)
}
