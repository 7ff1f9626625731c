package engine

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/model"
)

// Show implements control.Supervisor. A template is shown as each of its copies.
func (e *Engine) Show(ctx context.Context, who control.Who, name string) (text string, err error) {
	err = e.inLoop(ctx, func() error {
		names := e.instancesOf(name)
		if s := e.services[name]; s != nil && s.def != nil {
			names = []string{name}
		}
		if len(names) == 0 {
			o := unknown(name)
			return &control.Error{Code: o.Code, Message: "cannot show " + name + ": " + o.Message, Hint: o.Hint}
		}
		var b strings.Builder
		for i, one := range names {
			s := e.services[one]
			if !e.may(who, s.def, "log", "") {
				e.auditRefusal(one, "show", who)
				return &control.Error{Code: control.NotPermitted, Message: fmt.Sprintf("cannot show %s: not permitted for uid %d", one, who.UID)}
			}
			if i > 0 {
				b.WriteByte('\n')
			}
			if len(names) > 1 {
				fmt.Fprintf(&b, "# %s\n", one)
			}
			b.WriteString(e.layersText(s))
			b.WriteString(e.ports.Definitions.Render(s.def))
		}
		text = b.String()
		return nil
	})
	return text, err
}

// layersText names what the state folder laid over the files of a service, as
// comments.
func (e *Engine) layersText(s *service) string {
	var b strings.Builder
	if text := e.pinText(s.name); text != "" {
		fmt.Fprintf(&b, "# %s  # state folder: abide rollback; abide apply --unpin %s takes the file again\n", text, s.name)
	}
	if s.def.Template != "" {
		if scale := e.ports.Layers.Scale(s.def.Template); scale != nil {
			base, _ := model.SplitName(s.name)
			fmt.Fprintf(&b, "# scale = %d  # state folder: abide scale %s, by uid %d at %s\n", scale.Copies, base, scale.By, scale.At.UTC().Format(time.RFC3339))
		}
	}
	return b.String()
}

// Snapshots implements control.Supervisor.
func (e *Engine) Snapshots(ctx context.Context, who control.Who, name string) (list []control.Kept, err error) {
	err = e.inLoop(ctx, func() error {
		s := e.services[name]
		if s == nil || s.def == nil {
			o := unknown(name)
			if copies := e.instancesOf(name); len(copies) > 0 {
				o.Message, o.Hint = name+" is a template, and snapshots are kept of each copy", "abide rollback "+copies[0]
			}
			return &control.Error{Code: o.Code, Message: "cannot list the snapshots of " + name + ": " + o.Message, Hint: o.Hint}
		}
		if !e.may(who, s.def, "log", "") {
			e.auditRefusal(name, "snapshots", who)
			return &control.Error{Code: control.NotPermitted, Message: fmt.Sprintf("cannot list the snapshots of %s: not permitted for uid %d", name, who.UID)}
		}
		e.archiveInForce()
		versions, err := e.ports.Layers.Versions(name)
		if err != nil {
			return &control.Error{Code: control.Failed, Message: fmt.Sprintf("cannot list the snapshots of %s: %v", name, err)}
		}
		pin, pinned := e.pins[name]
		list = make([]control.Kept, 0, len(versions))
		for i, v := range versions {
			k := control.Kept{Number: v.Number, At: v.At, By: v.By, Verb: v.Verb, Keys: v.Keys, Pinned: pinned && pin.Number == v.Number}
			if k.Keys == nil {
				k.Keys = []string{}
			}
			k.InForce = k.Pinned || !pinned && i == len(versions)-1
			list = append(list, k)
		}
		return nil
	})
	return list, err
}
