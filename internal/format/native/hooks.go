package native

import (
	"strings"

	"github.com/abide-project/abide/internal/diag"
	"github.com/abide-project/abide/internal/format/tomltree"
	"github.com/abide-project/abide/internal/model"
)

// This file reads and writes hooks: commands at moments of a service's life.

const hookType = `text, list, { command, user, timeout, ... }, or a list of these`

var hookKeys = []Key{
	hookKey("before_start", "Run before each start. If one fails, the start has failed.", func(h *model.Hooks) *[]model.Hook { return &h.BeforeStart }),
	hookKey("after_start", "Run once it is ready, before those that need it start. If one fails, the run is stopped.", func(h *model.Hooks) *[]model.Hook { return &h.AfterStart }),
	hookKey("before_stop", "Run before it is told to end, while it lives.", func(h *model.Hooks) *[]model.Hook { return &h.BeforeStop }),
	hookKey("after_stop", "Run after each end, that of a crash and of a failed start too.", func(h *model.Hooks) *[]model.Hook { return &h.AfterStop }),
}

func hookKey(path, doc string, field func(*model.Hooks) *[]model.Hook) Key {
	return Key{Path: path, Type: hookType, Default: "none", Doc: doc,
		read: func(r *reader, path string, v *tomltree.Value) {
			*field(&r.svc.Hooks) = r.hooks(path, v)
		},
		write: func(s *model.Service) string { return hooksOut(*field(&s.Hooks)) },
	}
}

// hooks reads one hook or several. A list of nothing but texts is one command
// with its arguments; any other list is one of hooks.
func (r *reader) hooks(path string, v *tomltree.Value) []model.Hook {
	if v.Kind != tomltree.Array || len(v.Items) == 0 || allTexts(v.Items) {
		if v.Kind == tomltree.Array && len(v.Items) == 0 {
			return nil // takes those of an underlying definition away
		}
		if v.Kind == tomltree.Array {
			r.oneCommand(path, v.Items)
		}
		if h, ok := r.hook(path, v); ok {
			return []model.Hook{h}
		}
		return nil
	}
	var out []model.Hook
	for _, item := range v.Items {
		if h, ok := r.hook(path, item); ok {
			out = append(out, h)
		}
	}
	return out
}

// isHook reports whether a key takes a table with shell = true.
func isHook(path string) bool {
	switch path {
	case "before_start", "after_start", "before_stop", "after_stop", "on_failure.command":
		return true
	}
	return false
}

// oneCommand warns of a list that was meant to be one of several commands.
func (r *reader) oneCommand(path string, items []*tomltree.Value) {
	if len(items) > 1 && strings.ContainsAny(items[0].Text, " \t") {
		r.list.Add(diag.Warning, items[0].Pos, "shell-syntax", "write [[\"a\", \"b\"], [\"c\"]] for several commands", "a list of texts in %s is one command with its arguments: its program is %s", path, quote(items[0].Text))
	}
}

func allTexts(items []*tomltree.Value) bool {
	for _, item := range items {
		if item.Kind != tomltree.String {
			return false
		}
	}
	return true
}

func (r *reader) hook(path string, v *tomltree.Value) (model.Hook, bool) {
	h := model.Hook{Timeout: model.DefaultHookTimeout}
	switch v.Kind {
	case tomltree.String, tomltree.Array:
		h.Command = r.command(path, v)
		return h, true
	case tomltree.Table:
	default:
		r.wrong(path, v, "a command", `as in "/srv/shop/migrate --all", or { command = "...", timeout = "2m" }`)
		return h, false
	}
	shell := false
	var command *tomltree.Value
	ok := r.inline(path, v, []inlineKey{
		{"command", func(v *tomltree.Value) bool { command = v; return true }},
		{"shell", func(v *tomltree.Value) (ok bool) { shell, ok = r.bool("shell", v); return ok }},
		{"user", func(v *tomltree.Value) (ok bool) { h.User, ok = r.account("user", v); return ok }},
		{"timeout", func(v *tomltree.Value) (ok bool) {
			if h.Timeout, ok = r.duration("timeout", v); ok && h.Timeout <= 0 {
				r.fail(v.Pos, "bad-value", "", "cannot use timeout = %s in %s: it would end before it began", quote(v.Text), path)
				ok = false
			}
			return ok
		}},
		{"ignore_failure", func(v *tomltree.Value) (ok bool) { h.IgnoreFailure, ok = r.bool("ignore_failure", v); return ok }},
	})
	switch {
	case !ok:
		return h, false
	case command == nil:
		r.fail(v.Pos, "missing", `write { command = "/path/of/program", timeout = "30s" }`, "cannot use %s: it has no command", path)
		return h, false
	case shell:
		h.Script, ok = r.script(path, command)
		return h, ok
	}
	h.Command = r.command(path, command)
	return h, true
}

// script reads a text that /bin/sh is to understand.
func (r *reader) script(path string, v *tomltree.Value) (string, bool) {
	if v.Kind == tomltree.Array {
		r.wrong(path, v, "one text when shell = true", "")
		return "", false
	}
	text, ok := r.text("command", v)
	if ok && strings.TrimSpace(text) == "" {
		r.fail(v.Pos, "missing", "", "cannot use %s: its command is empty", path)
		ok = false
	}
	return text, ok
}

func hooksOut(hooks []model.Hook) string {
	switch len(hooks) {
	case 0:
		return ""
	case 1:
		return hookOut(hooks[0])
	}
	parts := make([]string, len(hooks))
	for i, h := range hooks {
		parts[i] = hookOut(h)
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

func hookOut(h model.Hook) string {
	command := listOf(h.Command)
	if h.Script == "" && h.User == "" && h.Timeout == model.DefaultHookTimeout && !h.IgnoreFailure {
		return command
	}
	if h.Script != "" {
		command = quote(h.Script) + ", shell = true"
	}
	out := "{ command = " + command
	if h.User != "" {
		out += ", user = " + quote(h.User)
	}
	if h.Timeout != model.DefaultHookTimeout {
		out += ", timeout = " + quote(model.FormatDuration(h.Timeout))
	}
	if h.IgnoreFailure {
		out += ", ignore_failure = true"
	}
	return out + " }"
}
