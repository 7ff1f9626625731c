package native

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/abide-project/abide/internal/diag"
	"github.com/abide-project/abide/internal/format"
	"github.com/abide-project/abide/internal/format/tomltree"
	"github.com/abide-project/abide/internal/model"
)

// reader turns the merged tree of one service into the model.
type reader struct {
	svc       *model.Service
	list      diag.List
	root      *tomltree.Value
	own       []*tomltree.Value // the layers of root that are its own, not those of abide.toml for all
	template  bool              // the tree is that of a template, or of its instance
	shell     bool
	instances []string
	scale     int  // of a template
	scaled    bool // scale is given
}

func (r *reader) fail(pos diag.Pos, code, hint, format string, args ...any) {
	r.list.Add(diag.Error, pos, code, hint, format, args...)
}

// isOwn reports whether the service's own definition sets a key, not only what
// abide.toml says of all.
func (r *reader) isOwn(path string) bool {
	return slices.ContainsFunc(r.own, func(v *tomltree.Value) bool {
		for name := range strings.SplitSeq(path, ".") {
			f := v.Get(name)
			if f == nil {
				return false
			}
			v = f.Value
		}
		return true
	})
}

// peek looks at the two keys that decide defaults, before anything is read;
// wrong values are reported when their turn comes.
func peek(root *tomltree.Value, settings format.Settings) model.Service {
	kind, essential := kindOf([]*tomltree.Value{root}), false
	if f := root.Get("essential"); f != nil {
		essential = f.Value.Bool
	}
	return settings.Defaults(kind, essential)
}

// table reads the keys of one table; prefix is its path with a dot behind.
func (r *reader) table(prefix string, t *tomltree.Value) {
	for _, f := range t.Fields {
		path := f.Key
		if prefix != "" {
			path = prefix + f.Key
		}
		k := keyByPath[path]
		switch {
		case k != nil && k.Refused != "":
			r.fail(f.Pos, "not-supported", "", "cannot use %s: %s", path, k.Refused)
		case k != nil:
			r.svc.Origin[k.Path] = f.Value.Pos
			k.read(r, k.Path, f.Value)
		case !tables[path]:
			r.unknown(prefix, t, f)
		case f.Value.Kind == tomltree.Table:
			r.table(path+".", f.Value)
		default:
			r.notATable(path, f)
		}
	}
}

// notATable answers restart = "always" and the like.
func (r *reader) notATable(path string, f *tomltree.Field) {
	if f.Value.Kind == tomltree.Array {
		for _, item := range f.Value.Items {
			if item.Kind == tomltree.Table {
				r.fail(f.Pos, "wrong-type", "write ["+path+"] with one pair of brackets", "cannot use %s: there is only one such table", path)
				return
			}
		}
	}
	hint := "write [" + path + "] on a line of its own, and its keys below"
	if word, ok := valueHabits[path+"="+strings.ToLower(f.Value.Text)]; ok && f.Value.Kind != tomltree.Table {
		hint = "write [restart] on a line of its own, and below it when = " + quote(word)
	}
	r.fail(f.Value.Pos, "wrong-type", hint, "cannot use %s: it takes a table, not %s", path, f.Value.Describe())
}

// wrong says what a key takes.
func (r *reader) wrong(path string, v *tomltree.Value, takes, hint string) {
	r.fail(v.Pos, "wrong-type", hint, "cannot use %s: it takes %s, not %s", path, takes, v.Describe())
}

func (r *reader) text(path string, v *tomltree.Value) (string, bool) {
	switch v.Kind {
	case tomltree.String:
		if strings.HasPrefix(v.Text, "~/") || v.Text == "~" {
			if path != "description" && path != "command" {
				r.fail(v.Pos, "bad-value", "write ${home} for the home of its user", "cannot use %s = %q: ~ has no meaning here", path, v.Text)
				return "", false
			}
		}
		return v.Text, true
	case tomltree.Integer, tomltree.Float, tomltree.Bool, tomltree.Date:
		r.wrong(path, v, "a text", "write "+quote(v.Text)+" in quotes")
	default:
		r.wrong(path, v, "a text", "")
	}
	return "", false
}

func (r *reader) bool(path string, v *tomltree.Value) (bool, bool) {
	if v.Kind == tomltree.Bool {
		return v.Bool, true
	}
	hint := ""
	switch strings.ToLower(v.Text) {
	case "true", "yes", "on", "1":
		hint = "write true without quotes"
	case "false", "no", "off", "0":
		hint = "write false without quotes"
	}
	r.wrong(path, v, "true or false", hint)
	return false, false
}

func (r *reader) int(path string, v *tomltree.Value) (int, bool) {
	if v.Kind == tomltree.Integer && v.Int >= math.MinInt32 && v.Int <= math.MaxInt32 {
		return int(v.Int), true
	}
	hint := ""
	if v.Kind == tomltree.String {
		if _, err := strconv.Atoi(v.Text); err == nil {
			hint = "write " + v.Text + " without quotes"
		}
	}
	if v.Kind == tomltree.Integer {
		r.fail(v.Pos, "bad-value", "", "cannot use %s = %d: the number is too large", path, v.Int)
		return 0, false
	}
	r.wrong(path, v, "a whole number", hint)
	return 0, false
}

func (r *reader) float(path string, v *tomltree.Value) (float64, bool) {
	if v.Kind == tomltree.Integer || v.Kind == tomltree.Float && !math.IsInf(v.Float, 0) && !math.IsNaN(v.Float) {
		return v.Float, true
	}
	r.wrong(path, v, "a number", "")
	return 0, false
}

func (r *reader) duration(path string, v *tomltree.Value) (dur, bool) {
	switch v.Kind {
	case tomltree.String:
		d, err := model.ParseDuration(v.Text)
		if err != nil {
			r.fail(v.Pos, "bad-value", "", "%s", strings.Replace(err.Error(), "cannot use time", "cannot use "+path+" =", 1))
			return 0, false
		}
		return d, true
	case tomltree.Integer:
		r.wrong(path, v, "a time with its unit", "write "+quote(v.Text+"s")+" for seconds")
	default:
		r.wrong(path, v, "a time with its unit", `as in "10s"`)
	}
	return 0, false
}

func (r *reader) size(path string, v *tomltree.Value) (int64, bool) {
	switch {
	case v.Kind == tomltree.String:
		n, err := model.ParseSize(v.Text)
		if err != nil {
			r.fail(v.Pos, "bad-value", "", "%s", strings.Replace(err.Error(), "cannot use size", "cannot use "+path+" =", 1))
			return 0, false
		}
		return n, true
	case v.Kind == tomltree.Integer && v.Int >= 0:
		return v.Int, true
	}
	r.wrong(path, v, "a size", `as in "16MiB"`)
	return 0, false
}

// account reads the name or number of a user or group.
func (r *reader) account(path string, v *tomltree.Value) (string, bool) {
	if v.Kind == tomltree.Integer {
		if v.Int < 0 || v.Int > math.MaxUint32-1 {
			r.fail(v.Pos, "bad-value", "", "cannot use %s = %s: it is not the number of an account", path, v.Text)
			return "", false
		}
		return strconv.FormatInt(v.Int, 10), true
	}
	if v.Kind != tomltree.String {
		r.wrong(path, v, "a name or number", "")
		return "", false
	}
	if v.Text == "" {
		r.fail(v.Pos, "bad-value", "", "cannot use %s: the name is empty", path)
		return "", false
	}
	return v.Text, true
}

// word reads one of a few words and suggests the nearest.
func (r *reader) word(path string, v *tomltree.Value, words []string) (string, bool) {
	slices.Sort(words)
	if v.Kind == tomltree.String && slices.Contains(words, v.Text) {
		return v.Text, true
	}
	takes := quoteAll(words)
	if v.Kind != tomltree.String {
		hint := ""
		if word, ok := valueHabits[path+"="+strings.ToLower(v.Text)]; ok {
			hint = "write " + quote(word)
		}
		r.wrong(path, v, takes, hint)
		return "", false
	}
	hint := ""
	if word, ok := valueHabits[path+"="+strings.ToLower(v.Text)]; ok {
		hint = "write " + quote(word)
	} else if near := diag.Nearest(v.Text, words); near != "" {
		hint = "did you mean " + quote(near) + "?"
	}
	r.fail(v.Pos, "bad-value", hint, "cannot use %s = %s: it takes %s", path, quote(v.Text), takes)
	return "", false
}

func quoteAll(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = quote(w)
	}
	return enumerate(quoted, "or")
}

// texts reads a list of texts; a single text is refused with what to write.
func (r *reader) texts(path string, v *tomltree.Value) ([]*tomltree.Value, bool) {
	if v.Kind != tomltree.Array {
		hint := ""
		if v.Kind == tomltree.String {
			hint = "write " + path[strings.LastIndexByte(path, '.')+1:] + " = [" + quote(v.Text) + "]"
		}
		r.wrong(path, v, "a list", hint)
		return nil, false
	}
	ok := true
	for _, item := range v.Items {
		if _, isText := r.text(path, item); !isText {
			ok = false
		}
	}
	return v.Items, ok
}
