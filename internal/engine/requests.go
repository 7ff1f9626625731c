package engine

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/abide-project/abide/internal/control"
)

// A request is what an operator asked for. It is on record before anything of it
// is done, and its outcome before anybody is told; in between each service's page
// says which request was carried out on it last. So an engine that takes over
// knows of each name whether it was carried out, carries it out if not, and waits
// for what the first one waited for, whether its client comes back or not.
type request struct {
	seq   uint64
	key   requestKey
	req   control.Request // its names expanded
	began int64           // CLOCK_BOOTTIME, ns
	items []*item
	named map[string]*item
	whole []control.Outcome // of what was not named
	err   error
	left  int           // items without an outcome
	over  bool          // nothing more will come
	dirty bool          // something of it is not on record
	ready chan struct{} // closed once the outcome is on record
	asked []byte        // its record

	changes []changeJSON // of definitions, by an apply
}

// requestKey is how a client finds its request again. An id of one user means
// nothing for another.
type requestKey struct {
	uid int
	id  string
}

// item is one service of a request.
type item struct {
	name    string
	run     uint64 // what was asked for is a run after this one
	request *request
	waiter  *waiter
	outcome *control.Outcome
	kept    bool // the outcome is on record
	silent  bool // it has none: the verb's outcome names other services
}

// requests are those under way, and the outcomes of the last ones.
type requests struct {
	last    uint64 // the highest number given out
	open    map[uint64]*request
	byKey   map[requestKey]*request
	changed []*request        // have outcomes that are not on record
	kept    memory            // of what is over
	runs    map[string][]byte // the records of transient services, by name
}

// Requests keeps records across our death, see state.Journal.
type Requests interface {
	All() [][]byte
	Append(records ...[]byte) error
	Rewrite(records [][]byte) error
	Size() int64
}

// forgetful is for engines that keep no requests.
type forgetful struct{}

func (forgetful) All() [][]byte          { return nil }
func (forgetful) Append(...[]byte) error { return nil }
func (forgetful) Rewrite([][]byte) error { return nil }
func (forgetful) Size() int64            { return 0 }

// Do executes a request in the loop and waits for its outcome. It is the whole of
// control's Do: a repeated ID gets the first one's outcome, also from an engine
// that never saw the first one.
func (e *Engine) Do(ctx context.Context, req control.Request) ([]control.Outcome, error) {
	if req.Verb == control.Upgrade {
		return e.upgrade(ctx, req)
	}
	taken := make(chan *request, 1)
	e.Post(func() { taken <- e.ask(req) })
	select {
	case r := <-taken:
		return e.attend(ctx, r, req)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// ask begins a request, or finds the one of the same id.
func (e *Engine) ask(req control.Request) *request {
	key := requestKey{req.Who.UID, req.ID}
	if req.ID != "" {
		if r := e.asked.byKey[key]; r != nil {
			return r
		}
		if r := e.asked.kept.find(key); r != nil {
			return r
		}
	}
	r := &request{seq: e.nextRequest(), key: key, req: req, began: e.ports.Clock.Boot(), ready: make(chan struct{})}
	e.plan(r)
	e.asked.open[r.seq] = r
	if req.ID != "" {
		e.asked.byKey[key] = r
	}
	r.asked = r.askedRecord()
	if req.Verb == control.Run && r.req.Run != nil {
		e.asked.runs[r.req.Run.Name] = r.asked
	}
	e.keepOutcomes(r.asked)
	e.carryOutRequest(r, r.req)
	return r
}

// nextRequest is above every number given out since boot, even if the record of
// them is lost: a later request has a later time.
func (e *Engine) nextRequest() uint64 {
	e.asked.last = max(e.asked.last+1, uint64(e.ports.Clock.Boot()))
	return e.asked.last
}

// plan says which services a request means, while everything is as it was.
func (e *Engine) plan(r *request) {
	switch r.req.Verb {
	case control.Apply, control.Shutdown, control.Runlevel:
		return
	case control.Scale:
		e.planScale(r)
		return
	case control.Run:
		if r.req.Run != nil {
			spec := *r.req.Run
			spec.Name = e.nameOfRun(&spec)
			r.req.Run = &spec
			r.add(spec.Name, 0)
		}
		return
	}
	var names []string
	for _, asked := range r.req.Names {
		for _, name := range e.meant(asked) {
			if r.add(name, e.runBefore(r.req.Verb, name)) {
				names = append(names, name)
			}
		}
	}
	r.req.Names = names
}

// runBefore is the run that a verb's success must come after. A start of what is
// on its way up already is about the present run.
func (e *Engine) runBefore(verb control.Verb, name string) uint64 {
	s := e.services[name]
	if s == nil {
		return 0
	}
	if (verb == control.Start || verb == control.Enable) && s.lives() {
		return s.st.Run - 1
	}
	return s.st.Run
}

// add reports false for a name that is there already.
func (r *request) add(name string, run uint64) bool {
	if r.named[name] != nil {
		return false
	}
	if r.named == nil {
		r.named = map[string]*item{}
	}
	it := &item{name: name, run: run, request: r}
	r.items = append(r.items, it)
	r.named[name] = it
	r.left++
	return true
}

// carryOutRequest does what req, all or a part of r, asks for, and takes the
// outcomes that come at once.
func (e *Engine) carryOutRequest(r *request, req control.Request) {
	e.request = r.seq
	outcomes, waits, err := e.carryOut(req)
	e.request = 0
	if err != nil {
		r.err = err
		e.auditError(r.req, err)
		e.endRequest(r)
		return
	}
	for _, o := range outcomes {
		if it := r.named[o.Name]; it != nil && it.outcome == nil {
			e.answer(it, o)
		} else {
			r.whole = append(r.whole, o)
			e.auditOutcome(req, o)
		}
	}
	for _, w := range waits {
		e.attach(r, w)
	}
	for _, name := range req.Names {
		if it := r.named[name]; it != nil && it.outcome == nil && it.waiter == nil && !it.silent {
			it.silent = true
			r.left--
		}
	}
	if r.left == 0 {
		e.endRequest(r)
	}
}

// attach makes a waiter answer an item.
func (e *Engine) attach(r *request, w *waiter) {
	it := r.named[w.s.name]
	if it == nil {
		r.add(w.s.name, w.run)
		it = r.named[w.s.name]
	}
	select {
	case o := <-w.out:
		e.answer(it, o)
		return
	default:
	}
	if r.req.NoWait {
		e.drop(w)
		e.answer(it, done(w.s, fmt.Sprintf("%s: under way", r.req.Verb)))
		return
	}
	it.waiter, w.item = w, it
}

// answer gives an item its outcome.
func (e *Engine) answer(it *item, o control.Outcome) {
	r := it.request
	if it.outcome != nil || it.silent {
		return
	}
	it.outcome, it.waiter = &o, nil
	r.left--
	e.auditOutcome(r.req, o)
	if r.left == 0 {
		e.endRequest(r)
		return
	}
	e.changed(r)
}

func (e *Engine) changed(r *request) {
	if !r.dirty {
		r.dirty = true
		e.asked.changed = append(e.asked.changed, r)
	}
}

func (e *Engine) endRequest(r *request) {
	if !r.over {
		r.over = true
		e.changed(r)
	}
}

// keepOutcomes puts on record what was decided since the last time, and next
// behind it, in one write; then whoever waits is told. It runs at the end of each
// turn and before a request is begun.
func (e *Engine) keepOutcomes(next ...[]byte) {
	q := &e.asked
	if len(q.changed) == 0 && len(next) == 0 {
		return
	}
	records := make([][]byte, 0, len(q.changed)+len(next))
	for _, r := range q.changed {
		r.dirty = false
		if r.over {
			records = append(records, r.outcomeRecord())
		} else {
			records = append(records, r.progressRecord(false))
		}
	}
	if err := e.ports.Requests.Append(append(records, next...)...); err != nil {
		e.complainOnce("requests", fmt.Sprintf("Cannot keep what operators ask for: %v", err))
	}
	for i, r := range q.changed {
		if r.over {
			delete(q.open, r.seq)
			delete(q.byKey, r.key)
			q.kept.add(r.key, records[i])
			close(r.ready)
		}
	}
	clear(q.changed)
	q.changed = q.changed[:0]
	e.shrinkRequests()
}

// shrinkRequests writes the records anew once most of them count no more.
func (e *Engine) shrinkRequests() {
	const slack = 1 << 20
	q := &e.asked
	if e.ports.Requests.Size() < int64(2*q.kept.bytes+slack) {
		return
	}
	var records [][]byte
	for name, raw := range q.runs {
		if e.services[name] == nil {
			delete(q.runs, name)
			continue
		}
		records = append(records, raw)
	}
	records = append(records, q.kept.all()...)
	for _, seq := range sortedSeqs(q.open) {
		r := q.open[seq]
		records = append(records, r.asked)
		if len(r.changes) > 0 {
			records = append(records, r.changesRecord())
		}
		if r.left < len(r.items) {
			records = append(records, r.progressRecord(true))
		}
	}
	if err := e.ports.Requests.Rewrite(records); err != nil {
		e.complainOnce("requests", fmt.Sprintf("Cannot keep what operators ask for: %v", err))
	}
}

func sortedSeqs(open map[uint64]*request) []uint64 {
	seqs := make([]uint64, 0, len(open))
	for seq := range open {
		seqs = append(seqs, seq)
	}
	slices.Sort(seqs)
	return seqs
}

// results are the outcomes in the order of the names.
func (r *request) results() []control.Outcome {
	out := slices.Clone(r.whole)
	for _, it := range r.items {
		if it.outcome != nil {
			out = append(out, *it.outcome)
		}
	}
	return out
}

// attend waits for the outcome of a request on behalf of one client, for as long
// as that one is willing to.
func (e *Engine) attend(ctx context.Context, r *request, req control.Request) ([]control.Outcome, error) {
	if req.Timeout > 0 {
		// Counted from when it was first asked for, by whatever engine.
		gone := time.Duration(e.ports.Clock.Boot() - r.began)
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, req.Timeout-gone)
		defer cancel()
	}
	told := time.NewTimer(time.Second)
	defer told.Stop()
	if req.Trace == nil {
		told.Stop()
	}
	began := time.Now()
	for {
		select {
		case <-r.ready:
			return r.results(), r.err
		case <-told.C:
			told.Reset(time.Second)
			if _, name := e.soFar(r, nil); name != "" {
				req.Trace(fmt.Sprintf("waiting for %s to %s, %s so far", name, req.Verb, time.Since(began).Round(time.Second)))
			}
		case <-ctx.Done():
			waited := time.Since(began).Round(time.Millisecond)
			outcomes, _ := e.soFar(r, func(name string) control.Outcome {
				return control.Outcome{
					Name: name, Code: control.TimedOut,
					Message: fmt.Sprintf("waited %s for %s to %s; the work goes on", waited, name, req.Verb),
					Hint:    "abide status " + name,
				}
			})
			return outcomes, nil
		}
	}
}

// soFar asks the loop for the outcomes there are, with others in place of those
// that are missing, and for the first name that is waited for.
func (e *Engine) soFar(r *request, missing func(string) control.Outcome) (outcomes []control.Outcome, first string) {
	answer := make(chan struct{})
	e.Post(func() {
		defer close(answer)
		outcomes = slices.Clone(r.whole)
		for _, it := range r.items {
			switch {
			case it.outcome != nil:
				outcomes = append(outcomes, *it.outcome)
			case missing != nil:
				outcomes = append(outcomes, missing(it.name))
			}
			if it.outcome == nil && first == "" {
				first = it.name
			}
		}
	})
	select {
	case <-answer:
		return outcomes, first
	case <-r.ready:
		return r.results(), ""
	}
}
