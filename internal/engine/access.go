package engine

import (
	"fmt"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/model"
)

// role is what [operators] grants beside single verbs. A higher one includes the
// lower ones.
var roleOf = map[control.Verb]string{
	control.Start: "operate", control.Stop: "operate", control.Restart: "operate", control.Reload: "operate",
	control.Roll: "operate", control.Signal: "operate", control.Pause: "operate", control.Resume: "operate", control.Clear: "operate",
	control.Release: "owner", control.Rollback: "owner",
	control.Enable: "admin", control.Disable: "admin",
}

var rolesAbove = map[string][]string{
	"view":    {"view", "log", "operate", "admin"},
	"log":     {"log", "operate", "admin"},
	"operate": {"operate", "admin"},
	"admin":   {"admin"},
}

// owner tells whether someone may do everything: root and the uid abide runs as.
func (e *Engine) owner(who control.Who) bool { return who.UID == 0 || who.UID == e.uid }

// may tells whether who has a role, or the single verb, for a service. A
// service's own user has nothing by that.
func (e *Engine) may(who control.Who, def *model.Service, role string, verb control.Verb) bool {
	if e.owner(who) {
		return true
	}
	if def == nil {
		return false
	}
	operators := e.operators(def)
	for _, r := range rolesAbove[role] {
		list, given := operators[r]
		if !given && r == "view" {
			return true
		}
		if matches(who, list) {
			return true
		}
	}
	return verb != "" && matches(who, operators[string(verb)])
}

// matches tells whether a list of "*", "user:x" and "group:x" means who. Unknown
// names mean nobody.
func matches(who control.Who, list []string) bool {
	for _, entry := range list {
		kind, name, _ := strings.Cut(entry, ":")
		switch kind {
		case "*":
			return true
		case "user":
			if id, err := strconv.Atoi(name); err == nil && id == who.UID {
				return true
			}
			if u, err := user.Lookup(name); err == nil && u.Uid == strconv.Itoa(who.UID) {
				return true
			}
		case "group":
			id, err := strconv.Atoi(name)
			if err != nil {
				g, err := user.LookupGroup(name)
				if err != nil {
					continue
				}
				if id, err = strconv.Atoi(g.Gid); err != nil {
					continue
				}
			}
			if who.GID == id || slices.Contains(who.Groups, id) {
				return true
			}
		}
	}
	return false
}

// permit judges a verb on one service; a refusal is recorded like a deed.
func (e *Engine) permit(s *service, req control.Request) (control.Outcome, bool) {
	if e.may(req.Who, s.def, roleOf[req.Verb], req.Verb) {
		return control.Outcome{}, true
	}
	e.auditRefusal(s.name, string(req.Verb), req.Who)
	return refuse(s, control.NotPermitted, "cannot %s %s: not permitted for uid %d", req.Verb, s.name, req.Who.UID), false
}

// permitAll judges verbs that concern abide itself.
func (e *Engine) permitAll(req control.Request) error {
	if e.owner(req.Who) {
		return nil
	}
	e.auditRefusal("", string(req.Verb), req.Who)
	return &control.Error{
		Code:    control.NotPermitted,
		Message: fmt.Sprintf("cannot %s: not permitted for uid %d", req.Verb, req.Who.UID),
		Hint:    fmt.Sprintf("only root and uid %d may", e.uid),
	}
}
