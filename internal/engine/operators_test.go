package engine

import (
	"maps"
	"strings"
	"testing"

	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/model"
	"github.com/abide-project/abide/internal/state"
)

// keptPatterns outlive engines, as the file in the state folder does.
type keptPatterns struct{ now map[string]state.PatternUsers }

func (k *keptPatterns) Load() (map[string]state.PatternUsers, error) { return maps.Clone(k.now), nil }
func (k *keptPatterns) Store(now map[string]state.PatternUsers) error {
	k.now = maps.Clone(now)
	return nil
}

// granted is a service of user that [operators."app*"] lets uid 4000 restart.
func (w *world) granted(name, user, who string) {
	w.define(name, func(s *model.Service) {
		s.User = user
		s.Grants = []model.Grant{{Pattern: "app*", Role: "restart", Who: []string{who}}}
	})
}

func TestAPatternOfOperatorsHoldsForNoOtherUsersService(t *testing.T) {
	w := newWorld(t, 1)
	kept := &keptPatterns{}
	w.patterns = kept
	w.granted("app1", "app", "user:4000")
	w.boot()
	w.run()
	may := func(name string) bool {
		return w.eng.may(control.Who{UID: 4000}, w.service(name).def, "operate", control.Restart)
	}
	if !may("app1") {
		t.Error("the operator may not restart what the pattern was given for")
	}
	w.granted("app2", "app", "user:4000")
	w.granted("app-root", "root", "user:4000")
	w.ask(control.Apply)
	if !may("app2") || may("app-root") {
		t.Errorf("of the services added later the operator may restart app2: %v, app-root: %v; want the first alone", may("app2"), may("app-root"))
	}
	if !strings.Contains(w.story(), `[operators."app*"] does not hold for it: it was given for services of app, and this one runs as root`) {
		t.Errorf("nobody is told:\n%s", w.story())
	}
	// Neither another engine nor a time without any such service changes that.
	w.boot()
	w.run()
	if may("app-root") {
		t.Error("after another engine came the pattern holds")
	}
	root := w.defs["app-root"]
	clear(w.defs)
	w.ask(control.Apply)
	w.run()
	w.defs["app-root"] = root
	w.ask(control.Apply)
	if may("app-root") {
		t.Error("after the others were removed the pattern holds")
	}
	// Who writes another grant has seen what there is.
	w.granted("app-root", "root", "user:4001")
	w.ask(control.Apply)
	if !w.eng.may(control.Who{UID: 4001}, w.service("app-root").def, "operate", control.Restart) {
		t.Error("a grant that was written anew does not hold")
	}
}
