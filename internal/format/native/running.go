package native

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/abide-project/abide/internal/diag"
	"github.com/abide-project/abide/internal/format/tomltree"
	"github.com/abide-project/abide/internal/model"
)

// This file reads how a program is restarted, stopped, logged, limited and
// operated, where the values have a form of their own.

func readWhen(r *reader, path string, v *tomltree.Value) {
	when := map[string]model.RestartWhen{"always": model.RestartAlways, "never": model.RestartNever, "on-failure": model.RestartOnFailure, "on-crash": model.RestartOnCrash}
	if w, ok := r.word(path, v, []string{"always", "never", "on-failure", "on-crash"}); ok {
		r.svc.Restart.When = when[w]
	}
}

func exitSet(field func(*model.Service) *model.ExitSet) readFunc {
	return func(r *reader, path string, v *tomltree.Value) {
		if v.Kind != tomltree.Array {
			r.wrong(path, v, "a list of numbers and signals", `as in [0, 143, "TERM"]`)
			return
		}
		var set model.ExitSet
		for _, item := range v.Items {
			switch item.Kind {
			case tomltree.Integer:
				if item.Int < 0 || item.Int > 255 {
					r.fail(item.Pos, "bad-value", "", "cannot use exit code %d: codes are 0 to 255", item.Int)
				} else if item.Int != 0 || path != "restart.success_codes" {
					set.Codes = append(set.Codes, int(item.Int))
				}
			case tomltree.String:
				n, err := model.ParseSignal(item.Text)
				if err != nil {
					r.fail(item.Pos, "bad-value", "", "%s", err)
				} else {
					set.Signals = append(set.Signals, n)
				}
			default:
				r.wrong(path, item, "numbers and signals", "")
			}
		}
		slices.Sort(set.Codes)
		slices.Sort(set.Signals)
		set.Codes, set.Signals = slices.Compact(set.Codes), slices.Compact(set.Signals)
		*field(r.svc) = set
	}
}

func readStopSignal(r *reader, path string, v *tomltree.Value) {
	var steps []model.StopStep
	switch v.Kind {
	case tomltree.String, tomltree.Integer:
		if step, ok := r.stopStep(path, v); ok {
			steps = append(steps, step)
		}
	case tomltree.Array:
		for _, item := range v.Items {
			if step, ok := r.stopStep(path, item); ok {
				steps = append(steps, step)
			}
		}
		if len(v.Items) == 0 {
			r.fail(v.Pos, "bad-value", "", "cannot use stop.signal: the list is empty")
		}
	default:
		r.wrong(path, v, "a signal or a list of signals", `as in signal = ["QUIT 30s", "TERM 5s"]`)
	}
	if len(steps) > 0 {
		r.svc.Stop.Steps = steps
	}
}

// stopStep reads "TERM" or "TERM 5s".
func (r *reader) stopStep(path string, v *tomltree.Value) (model.StopStep, bool) {
	if v.Kind == tomltree.Integer {
		v = &tomltree.Value{Kind: tomltree.String, Pos: v.Pos, Text: v.Text}
	}
	s, ok := r.text(path, v)
	if !ok {
		return model.StopStep{}, false
	}
	name, wait, hasWait := strings.Cut(strings.TrimSpace(s), " ")
	n, err := model.ParseSignal(name)
	if err != nil {
		r.fail(v.Pos, "bad-value", "", "%s", err)
		return model.StopStep{}, false
	}
	step := model.StopStep{Signal: n}
	if hasWait {
		if step.Wait, err = model.ParseDuration(wait); err != nil {
			r.fail(v.At(len(name)+1), "bad-value", "", "%s", err)
			return model.StopStep{}, false
		}
	}
	return step, true
}

func readReloadSignal(r *reader, path string, v *tomltree.Value) {
	if v.Kind == tomltree.Integer {
		r.svc.Reload.Signal = int(min(max(v.Int, 0), 1000))
		return
	}
	s, ok := r.text(path, v)
	if !ok {
		return
	}
	n, err := model.ParseSignal(s)
	if err != nil {
		r.fail(v.Pos, "bad-value", "", "%s", err)
		return
	}
	r.svc.Reload.Signal = n
}

var logWords = []string{"file", "console", "null", "inherit"}

func logTargets(field func(*model.Service) *[]model.LogTarget) readFunc {
	return func(r *reader, path string, v *tomltree.Value) {
		items := []*tomltree.Value{v}
		if v.Kind == tomltree.Array {
			items = v.Items
		}
		targets := make([]model.LogTarget, 0, len(items))
		for _, item := range items {
			s, ok := r.text(path, item)
			if !ok {
				continue
			}
			switch i := slices.Index(logWords, s); {
			case i >= 0:
				targets = append(targets, model.LogTarget{Kind: model.LogKind(i)})
			case strings.Contains(s, "/"):
				r.list = append(r.list, model.CheckExpand(s, false, item.At)...)
				targets = append(targets, model.LogTarget{Kind: model.LogPath, Path: s})
			default:
				hint := "a path holds a /"
				if near := diag.Nearest(s, logWords); near != "" {
					hint = "did you mean " + quote(near) + "?"
				}
				r.fail(item.Pos, "bad-value", hint, "cannot use %s = %s: it takes %s, or a path", path, quote(s), quoteAll(logWords))
				targets = append(targets, model.LogTarget{Kind: model.LogFile})
			}
		}
		*field(r.svc) = targets
	}
}

func readRlimits(r *reader, path string, v *tomltree.Value) {
	if v.Kind != tomltree.Table {
		r.wrong(path, v, "a table", "write [rlimits] on a line of its own, and nofile = 65536 below")
		return
	}
	for _, f := range v.Fields {
		key := path + "." + f.Key
		if !slices.Contains(model.RlimitNames, f.Key) {
			hint := "[rlimits] knows " + strings.Join(model.RlimitNames, " ")
			if near := diag.Nearest(strings.TrimPrefix(strings.ToLower(f.Key), "limit"), model.RlimitNames); near != "" {
				hint = "did you mean " + near + "?"
			}
			if keyByPath[f.Key] != nil && f.Key != "nice" && v.Header {
				r.fail(f.Pos, "misplaced-key", "move it above the first [table]", "%s belongs above the first [table], line %d", f.Key, r.firstHeader(v, f.Pos.File))
				continue
			}
			r.fail(f.Pos, "unknown-key", hint, "unknown limit %s", shown(f.Key))
			continue
		}
		r.svc.Origin[key] = f.Value.Pos
		if limit, ok := r.rlimit(key, f.Value); ok {
			limit.Name = f.Key
			r.svc.Rlimits = append(r.svc.Rlimits, limit)
		}
	}
	slices.SortFunc(r.svc.Rlimits, func(a, b model.Rlimit) int { return cmp.Compare(a.Name, b.Name) })
}

func (r *reader) rlimit(key string, v *tomltree.Value) (model.Rlimit, bool) {
	switch {
	case v.Kind == tomltree.Integer && v.Int >= 0:
		return model.Rlimit{Soft: uint64(v.Int), Hard: uint64(v.Int)}, true
	case v.Kind == tomltree.String:
		softText, hardText, two := strings.Cut(v.Text, ":")
		if !two {
			hardText = softText
		}
		soft, ok := limitValue(softText)
		hard, ok2 := limitValue(hardText)
		if ok && ok2 {
			return model.Rlimit{Soft: soft, Hard: hard}, true
		}
		hint := ""
		if strings.HasPrefix(strings.ToLower(v.Text), "inf") {
			hint = `write "unlimited"`
		}
		r.fail(v.Pos, "bad-value", hint, `cannot use %s = %s: it takes a number, a size, "unlimited" or "soft:hard"`, key, quote(v.Text))
	case v.Kind == tomltree.Integer:
		r.fail(v.Pos, "bad-value", `write "unlimited" if that is meant`, "cannot use %s = %s: it is negative", key, v.Text)
	default:
		hint := ""
		if v.Kind == tomltree.Float {
			hint = `write "unlimited" if that is meant`
		}
		r.wrong(key, v, `a number, a size, "unlimited" or "soft:hard"`, hint)
	}
	return model.Rlimit{}, false
}

func limitValue(s string) (uint64, bool) {
	if s == "unlimited" {
		return model.Unlimited, true
	}
	if n, err := strconv.ParseUint(s, 10, 64); err == nil {
		return n, true
	}
	n, err := model.ParseSize(s)
	return uint64(n), err == nil
}

func readOperators(r *reader, path string, v *tomltree.Value) {
	if v.Kind != tomltree.Table {
		r.wrong(path, v, "a table", `write [operators] on a line of its own, and operate = ["group:ops"] below`)
		return
	}
	for _, f := range v.Fields {
		key := path + "." + f.Key
		r.svc.Origin[key] = f.Value.Pos
		if !slices.Contains(model.OperatorRoles, f.Key) {
			hint := "the roles are view, log, operate, admin, or one verb"
			if near := diag.Nearest(f.Key, model.OperatorRoles); near != "" {
				hint = "did you mean " + near + "?"
			}
			r.fail(f.Pos, "unknown-key", hint, "unknown role %s", shown(f.Key))
			continue
		}
		items, ok := r.texts(key, f.Value)
		if !ok {
			continue
		}
		who := make([]string, 0, len(items))
		for _, item := range items {
			if !model.ValidPrincipal(item.Text) {
				r.fail(item.Pos, "bad-value", `write "*", "user:NAME" or "group:NAME"`, "cannot grant %s to %s", f.Key, quote(item.Text))
				continue
			}
			who = append(who, item.Text)
		}
		r.svc.Operators[f.Key] = who
	}
}
