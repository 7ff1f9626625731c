package engine

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/core"
)

// A record of RUN/requests is kind u8 | number of the request u64 | uid u32 |
// length of its id u8 | id | JSON. The part before the JSON is all that has to be
// looked at of what is over, which is most of it.
const (
	recordAsked    = 'A' // askedJSON: it is about to be carried out
	recordRun      = 'R' // the same of `abide run`: it holds a definition
	recordChanges  = 'C' // changesJSON: what new definitions ask for
	recordProgress = 'P' // progressJSON: some names have their outcome
	recordOutcome  = 'O' // outcomeJSON: it is over

	recordHead = 1 + 8 + 4 + 1
	longestID  = 255
)

type askedJSON struct {
	Request control.Request `json:"request"`
	Began   int64           `json:"began"`
	Runs    []uint64        `json:"runs"`
	Names   []string        `json:"names"`
}

type changesJSON struct {
	Changes []changeJSON `json:"changes"`
}

type changeJSON struct {
	Name  string         `json:"name"`
	Event core.EventKind `json:"event"`
	Must  bool           `json:"must"`
	// Starts says that the service is to run afterwards.
	Starts bool `json:"starts,omitempty"`
}

type progressJSON struct {
	Outcomes []control.Outcome `json:"outcomes"`
}

type outcomeJSON struct {
	Outcomes []control.Outcome `json:"outcomes"`
	Error    *control.Error    `json:"error,omitempty"`
}

var errRequestRecord = errors.New("cannot read the record of a request: it is malformed")

func (r *request) encode(kind byte, v any) []byte {
	body, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("cannot encode a request: %v", err)) // plain data always has a form
	}
	id := r.key.id[:min(len(r.key.id), longestID)]
	b := make([]byte, 0, recordHead+len(id)+len(body))
	b = append(b, kind)
	b = binary.LittleEndian.AppendUint64(b, r.seq)
	b = binary.LittleEndian.AppendUint32(b, uint32(r.key.uid))
	b = append(b, byte(len(id)))
	b = append(b, id...)
	return append(b, body...)
}

// parseRecord parts a record. The slices are views into it.
func parseRecord(b []byte) (kind byte, seq uint64, key requestKey, body []byte, err error) {
	if len(b) < recordHead || len(b) < recordHead+int(b[recordHead-1]) {
		return 0, 0, key, nil, errRequestRecord
	}
	id := int(b[recordHead-1])
	key = requestKey{uid: int(int32(binary.LittleEndian.Uint32(b[9:]))), id: string(b[recordHead : recordHead+id])}
	return b[0], binary.LittleEndian.Uint64(b[1:]), key, b[recordHead+id:], nil
}

func (r *request) askedRecord() []byte {
	kind := byte(recordAsked)
	if r.req.Verb == control.Run {
		kind = recordRun
	}
	a := askedJSON{Request: r.req, Began: r.began}
	for _, it := range r.items {
		a.Names, a.Runs = append(a.Names, it.name), append(a.Runs, it.run)
	}
	return r.encode(kind, a)
}

func (r *request) changesRecord() []byte {
	return r.encode(recordChanges, changesJSON{r.changes})
}

// progressRecord holds the outcomes that are not on record yet, or all.
func (r *request) progressRecord(all bool) []byte {
	var p progressJSON
	for _, it := range r.items {
		if it.outcome != nil && (all || !it.kept) {
			p.Outcomes = append(p.Outcomes, *it.outcome)
			it.kept = true
		}
	}
	return r.encode(recordProgress, p)
}

func (r *request) outcomeRecord() []byte {
	o := outcomeJSON{Outcomes: r.results()}
	if r.err != nil && !errors.As(r.err, &o.Error) {
		o.Error = &control.Error{Code: control.Failed, Message: r.err.Error()}
	}
	return r.encode(recordOutcome, o)
}

// readAsked makes a request of its record.
func readAsked(raw []byte) (*request, error) {
	_, seq, key, body, err := parseRecord(raw)
	if err != nil {
		return nil, err
	}
	var a askedJSON
	if err := json.Unmarshal(body, &a); err != nil || len(a.Names) != len(a.Runs) {
		return nil, errRequestRecord
	}
	r := &request{seq: seq, key: key, req: a.Request, began: a.Began, ready: make(chan struct{}), asked: raw}
	for i, name := range a.Names {
		r.add(name, a.Runs[i])
	}
	return r, nil
}

// readOutcome makes a request that is over of its last record.
func readOutcome(raw []byte) (*request, error) {
	_, seq, key, body, err := parseRecord(raw)
	if err != nil {
		return nil, err
	}
	var o outcomeJSON
	if err := json.Unmarshal(body, &o); err != nil {
		return nil, errRequestRecord
	}
	r := &request{seq: seq, key: key, whole: o.Outcomes, over: true, ready: make(chan struct{})}
	if o.Error != nil {
		r.err = o.Error
	}
	close(r.ready)
	return r, nil
}

// memory is the outcomes of the last requests, as records.
type memory struct {
	raw   map[requestKey][]byte
	order []requestKey // oldest first
	bytes int
}

// How much is remembered, whichever is less. The last few always are.
const (
	rememberedRequests = 512
	rememberedBytes    = 512 << 10
	rememberedAlways   = 8
)

func (m *memory) add(key requestKey, raw []byte) {
	if key.id == "" {
		return // nobody can ask for it
	}
	if m.raw == nil {
		m.raw = map[requestKey][]byte{}
	}
	if _, twice := m.raw[key]; twice {
		return
	}
	m.raw[key] = raw
	m.order = append(m.order, key)
	m.bytes += len(raw)
	for len(m.order) > rememberedAlways && (len(m.order) > rememberedRequests || m.bytes > rememberedBytes) {
		m.bytes -= len(m.raw[m.order[0]])
		delete(m.raw, m.order[0])
		m.order = m.order[1:]
	}
}

func (m *memory) find(key requestKey) *request {
	raw, known := m.raw[key]
	if !known {
		return nil
	}
	r, err := readOutcome(raw)
	if err != nil {
		return nil
	}
	return r
}

func (m *memory) all() [][]byte {
	out := make([][]byte, 0, len(m.order))
	for _, key := range m.order {
		out = append(out, m.raw[key])
	}
	return out
}
