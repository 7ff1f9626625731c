package model

import "strings"

// needs checks the dependencies of one service by themselves. What is known only
// with all services at hand, unknown names and cycles, is judged elsewhere.
func (v *validator) needs() {
	n := &v.s.Needs
	pulls := map[string]string{} // service -> the key that asks for it
	for _, l := range []struct {
		key  string
		list []Dependency
	}{
		{"requires", n.Requires}, {"wants", n.Wants}, {"after", n.After}, {"before", n.Before}, {"conflicts", n.Conflicts},
		{"part_of", n.PartOf}, {"wanted_by", n.WantedBy}, {"required_by", n.RequiredBy}, {"optional_all", n.OptionalAll},
		{"exclude_all", n.ExcludeAll},
	} {
		v.dependencies(l.key, l.list)
		for _, d := range l.list {
			switch first := pulls[d.Service]; l.key {
			case "requires", "wants":
				pulls[d.Service] = l.key
			case "conflicts", "exclude_all":
				if first != "" && d.Service != "" {
					v.fail(l.key+"."+d.Service, "conflict", "", "cannot use %s in %s: %s asks for it", d.Service, l.key, first)
				}
			}
		}
	}
	for _, set := range n.AnyOf {
		v.dependencies("any_of", set)
		if len(set) == 0 {
			v.fail("any_of", "bad-value", "", "cannot use any_of: nothing can be up of an empty list")
		}
	}
}

func (v *validator) dependencies(key string, list []Dependency) {
	for _, d := range list {
		at := key + "." + d.Service
		switch {
		case d.Service == v.s.Name:
			v.fail(at, "dependency", "", "cannot use %s in %s: a service cannot depend on itself", d.Service, key)
		case d.Service == Reserved:
			v.fail(at, "bad-name", "leave it out: abide is up whenever a service is", "cannot use abide in %s: it is no service", key)
		case d.Service == "" && d.File == "":
			v.fail(key, "missing", "", "cannot use %s: neither a service nor a file is named", key)
		case d.Service == "":
			v.text(key, d.File)
			if !strings.HasPrefix(d.File, "/") {
				v.fail(key, "bad-value", "", "cannot use %s = %q: it is not an absolute path", key, d.File)
			}
		case ValidName(d.Service) != nil:
			v.fail(at, "bad-name", "", "cannot use service %q in %s: it is no name of a service", d.Service, key)
		}
	}
}
