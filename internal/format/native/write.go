package native

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/abide-project/abide/internal/diag"
	"github.com/abide-project/abide/internal/model"
)

// WriteOptions shape what Write says beside the definition itself.
type WriteOptions struct {
	Origin bool // a comment behind each value: the file and line it came from, or "default"
	All    bool // values that stand on their default too
	Mask   bool // values of variables that look like secrets become "***"
}

// Write is the definition of s as a NAME.toml that reads back as s. With Mask it
// is for showing only.
func Write(s *model.Service, opts WriteOptions) []byte {
	w := writer{s: s, opts: opts}
	defaults := model.Defaults(s.Kind, s.Essential)
	// What decides the defaults is compared with what a silent definition has.
	defaults.Kind, defaults.Essential = model.Daemon, false
	table := ""
	for i := range keys {
		k := &keys[i]
		if k.Refused != "" || k.entries != nil || k.write == nil || s.Kind == model.Target && !forTarget(k.Path) {
			continue
		}
		value := k.write(s)
		isDefault := value == k.write(&defaults)
		if k.Path == "log.stderr" {
			isDefault = value == ""
		}
		_, given := s.Origin[k.Path]
		if value == "" || isDefault && !opts.All && !(opts.Origin && given) {
			continue
		}
		prefix, leaf := "", k.Path
		if j := strings.LastIndexByte(k.Path, '.'); j >= 0 {
			prefix, leaf = k.Path[:j], k.Path[j+1:]
		}
		if prefix != table {
			table = prefix
			w.header(table)
		}
		if opts.Mask && k.Path == "on_failure.webhook" {
			value = quote(model.MaskURL(s.OnFailure.Webhook))
		}
		w.line(leaf, value, k.Path)
	}
	for i := range keys {
		k := &keys[i]
		if k.entries == nil || s.Kind == model.Target && !forTarget(k.Path) {
			continue
		}
		list := k.entries(s)
		if len(list) == 0 || !opts.All && slices.Equal(list, k.entries(&defaults)) {
			continue
		}
		w.header(k.Path)
		for _, e := range list {
			if opts.Mask && k.Path == "environment" && model.IsSecret(e.name) {
				e.value = `"***"`
			}
			w.line(keyOut(e.name), e.value, k.Path+"."+e.name)
		}
	}
	return []byte(w.b.String())
}

type writer struct {
	b    strings.Builder
	s    *model.Service
	opts WriteOptions
}

func (w *writer) header(table string) {
	if w.b.Len() > 0 {
		w.b.WriteByte('\n')
	}
	fmt.Fprintf(&w.b, "[%s]\n", table)
}

func (w *writer) line(key, value, path string) {
	w.b.WriteString(key)
	w.b.WriteString(" = ")
	w.b.WriteString(value)
	if w.opts.Origin && w.s.Origin != nil {
		if pos, ok := w.s.Origin[path]; ok {
			fmt.Fprintf(&w.b, "  # %s", comment(pos))
		} else {
			w.b.WriteString("  # default")
		}
	}
	w.b.WriteByte('\n')
}

// comment is a place without characters that would end or break a comment.
func comment(pos diag.Pos) string {
	file := strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(pos.File, "?"))
	return file + ":" + strconv.Itoa(pos.Line)
}

func writeCommand(s *model.Service) string {
	if s.Shell {
		return quote(s.Script)
	}
	return listOrNothing(s.Command)
}

func writeGroups(s *model.Service) string {
	if !s.GroupsSet {
		return ""
	}
	return listOf(s.Groups)
}

func writeUmask(s *model.Service) string { return fmt.Sprintf("\"%03o\"", s.Umask) }

func writeEnvironment(s *model.Service) []entry {
	var out []entry
	for _, e := range s.Environment {
		out = append(out, entry{e.Name, quote(e.Value)})
	}
	return out
}

func writeEnvFiles(s *model.Service) string {
	var out []string
	for _, f := range s.EnvironmentFiles {
		p := f.Path
		if f.Optional {
			p = "-" + p
		}
		out = append(out, p)
	}
	return listOrNothing(out)
}

func writeInherit(s *model.Service) string {
	if len(s.Inherit.Globs) > 0 {
		return listOf(s.Inherit.Globs)
	}
	return strconv.FormatBool(s.Inherit.All)
}

func writeIOPriority(s *model.Service) string {
	switch p := s.IOPriority; {
	case p == nil:
		return ""
	case p.Class == "idle":
		return quote("idle")
	default:
		return quote(p.Class + ":" + strconv.Itoa(p.Level))
	}
}

func writeScheduler(s *model.Service) string {
	switch p := s.Scheduler; {
	case p == nil:
		return ""
	case p.Priority == 0:
		return quote(p.Policy)
	default:
		return quote(p.Policy + ":" + strconv.Itoa(p.Priority))
	}
}

func writeCPUs(s *model.Service) string {
	var parts []string
	for i := 0; i < len(s.CPUs); {
		j := i
		for j+1 < len(s.CPUs) && s.CPUs[j+1] == s.CPUs[j]+1 {
			j++
		}
		part := strconv.Itoa(s.CPUs[i])
		if j > i {
			part += "-" + strconv.Itoa(s.CPUs[j])
		}
		parts = append(parts, part)
		i = j + 1
	}
	if len(parts) == 0 {
		return ""
	}
	return quote(strings.Join(parts, ","))
}

func exitSetOut(get func(*model.Service) model.ExitSet) writeFunc {
	return func(s *model.Service) string {
		set := get(s)
		var parts []string
		for _, c := range set.Codes {
			parts = append(parts, strconv.Itoa(c))
		}
		for _, n := range set.Signals {
			parts = append(parts, quote(model.SignalName(n)))
		}
		if len(parts) == 0 {
			return ""
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
}

func writeStopSignal(s *model.Service) string {
	var parts []string
	for _, step := range s.Stop.Steps {
		part := model.SignalName(step.Signal)
		if step.Wait > 0 {
			part += " " + model.FormatDuration(step.Wait)
		}
		parts = append(parts, part)
	}
	switch len(parts) {
	case 0:
		return ""
	case 1:
		return quote(parts[0])
	}
	return listOf(parts)
}

func writeReloadSignal(s *model.Service) string {
	if s.Reload.Signal == 0 {
		return ""
	}
	return quote(model.SignalName(s.Reload.Signal))
}

func targetsOut(targets []model.LogTarget) string {
	var parts []string
	for _, t := range targets {
		parts = append(parts, t.String())
	}
	switch len(parts) {
	case 0:
		return ""
	case 1:
		return quote(parts[0])
	}
	return listOf(parts)
}

func writeStderr(s *model.Service) string {
	if slices.Equal(s.Log.Stderr, s.Log.Stdout) {
		return ""
	}
	return targetsOut(s.Log.Stderr)
}

func writeRlimits(s *model.Service) []entry {
	limit := func(n uint64) string {
		if n == model.Unlimited {
			return "unlimited"
		}
		return strconv.FormatUint(n, 10)
	}
	var out []entry
	for _, r := range s.Rlimits {
		value := limit(r.Soft)
		if r.Soft != r.Hard {
			value = quote(value + ":" + limit(r.Hard))
		} else if r.Soft > 1<<63-1 {
			value = quote(value)
		}
		out = append(out, entry{r.Name, value})
	}
	return out
}

func writeOperators(s *model.Service) []entry {
	var out []entry
	for _, role := range model.OperatorRoles {
		if who, ok := s.Operators[role]; ok {
			out = append(out, entry{role, listOf(who)})
		}
	}
	return out
}
