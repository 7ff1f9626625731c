package api

import (
	"net/http"
	"strings"

	"github.com/abide-project/abide/internal/api/wire"
	"github.com/abide-project/abide/internal/control"
)

// route is one line of the API: what is served, and what the document generated
// from the table says about it.
type route struct {
	method  string
	path    string // a segment {name} or {verb} stands for one of its kind
	summary string
	query   []param
	body    any    // an example of the body's type, nil if there is none
	answer  any    // an example of the answer's type
	media   string // of the answer; wire.JSON when empty
	lines   any    // type of a line when the answer may be a stream as well
	serve   func(*Server, *call)
}

// param is a query parameter.
type param struct{ name, kind, text string }

// routes is the whole API.
var routes = []route{
	{method: "GET", path: wire.PathAbout, summary: "Describe the instance that answers.",
		answer: control.About{}, serve: (*Server).about},
	{method: "GET", path: wire.PathServices, summary: "Status of the named services, of all that the asker may see when none is named.",
		query: []param{{"name", "string", "a service; may be repeated"}}, answer: []control.Status{}, serve: (*Server).services},
	{method: "GET", path: wire.ServicePrefix + "{name}", summary: "Status of a service and all its instances.",
		answer: []control.Status{}, serve: (*Server).services},
	{method: "GET", path: wire.ServicePrefix + "{name}/definition", summary: "The definition as abide understands it, in the native format, with the origin of each value.",
		answer: "", media: wire.TOML, serve: (*Server).definition},
	{method: "GET", path: wire.ServicePrefix + "{name}/history", summary: "The last runs of a service, the oldest first.",
		query:  []param{{"last", "integer", "the last N runs; all when absent"}},
		answer: []control.PastRun{}, serve: (*Server).history},
	{method: "GET", path: wire.ServicePrefix + "{name}/why", summary: "Why a service is in the state it is in.",
		answer: control.Why{}, serve: (*Server).why},
	{method: "GET", path: wire.ServicePrefix + "{name}/snapshots", summary: "The definitions of a service that were in force, the oldest first.",
		answer: []control.Kept{}, serve: (*Server).snapshots},
	{method: "GET", path: wire.PathPlan, summary: "What apply would do, in the order in which it would begin it.",
		query: []param{{"name", "string", "a service; may be repeated; everything when absent"}}, answer: control.Plan{}, serve: (*Server).plan},
	{method: "GET", path: wire.PathGraph, summary: "What services have to do with each other.",
		query:  []param{{"name", "string", "a service, with all it leads to; may be repeated"}},
		answer: control.Graph{}, serve: (*Server).graph},
	{method: "POST", path: wire.ServicePrefix + "{name}/{verb}", summary: "Act on a service and all its instances.",
		body: wire.Action{}, answer: wire.Outcomes{}, lines: wire.Progress{}, serve: (*Server).act},
	{method: "POST", path: wire.PathActions, summary: "Act on many services with one request.",
		body: wire.Action{}, answer: wire.Outcomes{}, lines: wire.Progress{}, serve: (*Server).act},
	{method: "POST", path: wire.PathApply, summary: "Read the definitions again and act on what changed.",
		body: wire.Action{}, answer: wire.Outcomes{}, lines: wire.Progress{}, serve: (*Server).apply},
	{method: "POST", path: wire.PathShutdown, summary: "Stop everything, then abide; a second request hurries.",
		body: wire.Action{}, answer: wire.Outcomes{}, lines: wire.Progress{}, serve: (*Server).shutdown},
	{method: "POST", path: wire.PathRunlevel, summary: "Go to the runlevel that is the one name in names.",
		body: wire.Action{}, answer: wire.Outcomes{}, lines: wire.Progress{}, serve: (*Server).runlevel},
	{method: "POST", path: wire.PathUpgrade, summary: "Move abide itself to other program files; the answer comes from the new engine.",
		body: wire.Upgrade{}, answer: wire.Outcomes{}, lines: wire.Progress{}, serve: (*Server).upgrade},
	{method: "POST", path: wire.PathRun, summary: "Run a command as a transient service.",
		body: wire.Run{}, answer: wire.Outcomes{}, lines: wire.Progress{}, serve: (*Server).run},
	{method: "POST", path: wire.PathAdopt, summary: "Make a process that runs already a service.",
		body: wire.Adopt{}, answer: wire.Outcomes{}, lines: wire.Progress{}, serve: (*Server).adopt},
	{method: "POST", path: wire.PathWait, summary: "Answer when each named service has reached a state.",
		body: wire.Wait{}, answer: []control.Status{}, serve: (*Server).wait},
	{method: "GET", path: wire.PathEvents, summary: "What happened, one event a line.",
		query: []param{
			{"cursor", "integer", "send what came after the event with this number"},
			{"follow", "boolean", "go on as events come"},
		},
		answer: control.Event{}, media: wire.NDJSON, serve: (*Server).events},
	{method: "GET", path: wire.PathLogs, summary: "What services wrote, merged by time, one record a line.",
		query: []param{
			{"name", "string", "a service; may be repeated"},
			{"lines", "integer", "the last N lines; -1 for all; 100 when absent"},
			{"since", "string", "RFC 3339: nothing older"},
			{"cursor", "string", "send what came after the record with this cursor"},
			{"follow", "boolean", "go on as lines come"},
		},
		answer: control.LogRecord{}, media: wire.NDJSON, serve: (*Server).logs},
}

// match finds the route of a request. Without one it returns the methods that
// the path knows, nil if it knows the path not at all.
func match(method, path string) (r *route, name, verb string, allow []string) {
	segments := strings.Split(path, "/")
	for i := range routes {
		n, v, ok := matchPath(routes[i].path, segments)
		if !ok {
			continue
		}
		if routes[i].method == method || routes[i].method == http.MethodGet && method == http.MethodHead {
			return &routes[i], n, v, nil
		}
		allow = append(allow, routes[i].method)
	}
	return nil, "", "", allow
}

func matchPath(pattern string, segments []string) (name, verb string, ok bool) {
	for i := 0; ; i++ {
		head, rest, more := strings.Cut(pattern, "/")
		if i >= len(segments) {
			return "", "", false
		}
		switch {
		case head == "{name}" && segments[i] != "":
			name = segments[i]
		case head == "{verb}" && isServiceVerb(segments[i]):
			verb = segments[i]
		case head != segments[i]:
			return "", "", false
		}
		if !more {
			return name, verb, i == len(segments)-1
		}
		pattern = rest
	}
}

func isServiceVerb(word string) bool {
	for _, v := range wire.ServiceVerbs {
		if string(v) == word {
			return true
		}
	}
	return false
}
