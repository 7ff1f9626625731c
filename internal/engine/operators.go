package engine

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"

	"github.com/abide-project/abide/internal/model"
	"github.com/abide-project/abide/internal/state"
)

// Patterns keep for whose services each pattern of [operators] was given.
type Patterns interface {
	Load() (map[string]state.PatternUsers, error)
	Store(map[string]state.PatternUsers) error
}

// A pattern of [operators] in abide.toml names services that exist and others that
// may come. Whoever wrote it thought of the accounts that these services run as;
// so it never holds for a service that is added later and runs as somebody else,
// or "app*" would hand a new service of root's to the operators of app.

// judgePatterns settles which patterns hold for which services. It runs whenever
// definitions came into force.
func (e *Engine) judgePatterns() {
	given := map[string]*state.PatternUsers{}
	words := map[string][]string{}
	for _, s := range e.services {
		if s.def == nil {
			continue
		}
		for _, g := range s.def.Grants {
			if g.Pattern == "" {
				continue
			}
			word := g.Role + "=" + strings.Join(g.Who, ",")
			if !slices.Contains(words[g.Pattern], word) {
				words[g.Pattern] = append(words[g.Pattern], word)
			}
			p := given[g.Pattern]
			if p == nil {
				p = &state.PatternUsers{}
				given[g.Pattern] = p
			}
			if !slices.Contains(p.Users, s.def.User) {
				p.Users = append(p.Users, s.def.User)
			}
		}
	}
	// A pattern that means nobody at present is not forgotten: what comes next must
	// not decide for whom it was given.
	changed, now := false, make(map[string]state.PatternUsers, len(given)+len(e.patterns))
	maps.Copy(now, e.patterns)
	for pattern, p := range given {
		sort.Strings(words[pattern])
		sort.Strings(p.Users)
		p.Grant = strings.Join(words[pattern], ";")
		if old, known := e.patterns[pattern]; known && old.Grant == p.Grant {
			continue
		}
		now[pattern], changed = *p, true
	}
	e.patterns = now
	if changed && e.ports.Patterns != nil {
		if err := e.ports.Patterns.Store(now); err != nil {
			e.complainOnce("patterns", fmt.Sprintf("Cannot keep for whom [operators] was given: %v", err))
		}
	}
	for _, s := range e.services {
		if s.def != nil && len(s.def.Grants) > 0 {
			e.judgeGrants(s)
		}
	}
}

// judgeGrants says once for each service which patterns do not hold for it.
func (e *Engine) judgeGrants(s *service) {
	var refused []string
	for _, g := range s.def.Grants {
		if g.Pattern != "" && !e.patternHolds(s.def, g.Pattern) && !slices.Contains(refused, g.Pattern) {
			refused = append(refused, g.Pattern)
		}
	}
	text := ""
	if len(refused) > 0 {
		text = fmt.Sprintf("[operators.%q] does not hold for it: it was given for services of %s, and this one runs as %s",
			strings.Join(refused, ", "), usersText(e.patterns[refused[0]].Users), usersText([]string{s.def.User}))
	}
	if text != "" && text != s.ungranted {
		e.record(s.name, 0, "definition", text, nil)
	}
	s.ungranted = text
}

func (e *Engine) patternHolds(def *model.Service, pattern string) bool {
	return slices.Contains(e.patterns[pattern].Users, def.User)
}

func usersText(users []string) string {
	words := slices.Clone(users)
	for i, u := range words {
		if u == "" {
			words[i] = "abide's own user"
		}
	}
	return strings.Join(words, ", ")
}

// operators are who may do what with a service.
func (e *Engine) operators(def *model.Service) model.Operators {
	if len(def.Grants) == 0 {
		return def.Operators
	}
	return def.GrantedBy(func(pattern string) bool { return e.patternHolds(def, pattern) })
}

// loadPatterns reads what an engine before us kept.
func (e *Engine) loadPatterns() {
	if e.ports.Patterns == nil {
		return
	}
	patterns, err := e.ports.Patterns.Load()
	if err != nil {
		e.complainOnce("patterns", fmt.Sprintf("Cannot read for whom [operators] was given: %v", err))
	}
	e.patterns = patterns
}
