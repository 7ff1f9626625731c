package wire

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/abide-project/abide/internal/control"
)

// DecodeStatuses decodes an array of statuses. It reads the common form itself,
// an order of magnitude faster than reflection, and leaves anything it does not
// expect (a newer server's keys, odd spacing, escapes it does not know) to
// encoding/json, so both always agree.
func DecodeStatuses(data []byte) ([]control.Status, error) {
	s := scanner{text: string(data)}
	list, ok := s.statuses()
	if ok {
		return list, nil
	}
	list = nil
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("cannot read the status answer: %w", err)
	}
	return list, nil
}

// scanner reads compact JSON. Its first surprise sets bad, after which nothing it
// returns counts. The strings it returns share the text they were read from.
type scanner struct {
	text string
	at   int
	bad  bool
}

func (s *scanner) statuses() ([]control.Status, bool) {
	s.expect('[')
	if s.next(']') {
		return []control.Status{}, s.ended()
	}
	list := make([]control.Status, 0, len(s.text)/512+1)
	for !s.bad {
		list = append(list, control.Status{})
		s.status(&list[len(list)-1])
		if !s.next(',') {
			break
		}
	}
	s.expect(']')
	return list, s.ended()
}

func (s *scanner) ended() bool {
	s.next('\n')
	return !s.bad && s.at == len(s.text)
}

func (s *scanner) status(v *control.Status) {
	var seen uint32
	s.object(func(key string) {
		bit := uint32(0)
		switch key {
		case "name":
			v.Name, bit = s.str(), 1<<0
		case "service":
			v.Service, bit = s.str(), 1<<1
		case "instance":
			v.Instance, bit = s.str(), 1<<2
		case "kind":
			v.Kind, bit = s.str(), 1<<3
		case "state":
			v.State, bit = s.str(), 1<<4
		case "wanted":
			v.Wanted, bit = s.boolean(), 1<<5
		case "enabled":
			v.Enabled, bit = s.boolean(), 1<<6
		case "pid":
			v.Pid, bit = s.integer(), 1<<7
		case "run":
			v.Run, bit = s.unsigned(), 1<<8
		case "since":
			v.Since, bit = s.time(), 1<<9
		case "ready":
			v.Ready, bit = s.boolean(), 1<<10
		case "paused":
			v.Paused, bit = s.boolean(), 1<<11
		case "restarts":
			v.Restarts, bit = s.unsigned(), 1<<12
		case "waiting_for":
			v.WaitingFor = []string{}
			s.array(func() { v.WaitingFor = append(v.WaitingFor, s.str()) })
			bit = 1 << 13
		case "why":
			v.Why, bit = s.str(), 1<<14
		case "fault":
			v.Fault, bit = s.str(), 1<<15
		case "pinned":
			v.Pinned, bit = s.boolean(), 1<<16
		case "definition":
			s.definition(&v.Definition)
			bit = 1 << 17
		case "last_exit":
			v.LastExit, bit = s.exit(), 1<<18
		case "containment":
			v.Containment, bit = s.str(), 1<<19
		case "strays":
			v.Strays = []int{}
			s.array(func() { v.Strays = append(v.Strays, s.integer()) })
			bit = 1 << 20
		case "log":
			s.log(&v.Log)
			bit = 1 << 21
		case "last_output":
			v.LastOutput = []string{}
			s.array(func() { v.LastOutput = append(v.LastOutput, s.str()) })
			bit = 1 << 22
		default:
			s.bad = true
		}
		if seen&bit != 0 { // a repeated key: encoding/json has its own rules for it
			s.bad = true
		}
		seen |= bit
	})
}

func (s *scanner) definition(v *control.Definition) {
	n := 0
	s.object(func(key string) {
		n++
		switch key {
		case "path":
			v.Path = s.str()
		case "changed":
			v.Changed = s.boolean()
		default:
			s.bad = true
		}
	})
	s.bad = s.bad || n > 2
}

func (s *scanner) log(v *control.LogStatus) {
	n := 0
	s.object(func(key string) {
		n++
		switch key {
		case "path":
			v.Path = s.str()
		case "dropped_bytes":
			v.DroppedBytes = s.unsigned()
		case "dropped_lines":
			v.DroppedLines = s.unsigned()
		default:
			s.bad = true
		}
	})
	s.bad = s.bad || n > 3
}

func (s *scanner) exit() *control.Exit {
	if s.word("null") {
		return nil
	}
	v, n := new(control.Exit), 0
	s.object(func(key string) {
		n++
		switch key {
		case "run":
			v.Run = s.unsigned()
		case "at":
			v.At = s.time()
		case "code":
			if !s.word("null") {
				code := s.integer()
				v.Code = &code
			}
		case "signal":
			if !s.word("null") {
				name := s.str()
				v.Signal = &name
			}
		case "core":
			v.Core = s.boolean()
		case "oom":
			v.OOM = s.boolean()
		case "unknown":
			v.Unknown = s.boolean()
		default:
			s.bad = true
		}
	})
	s.bad = s.bad || n > 7
	return v
}

func (s *scanner) object(field func(key string)) {
	s.expect('{')
	if s.next('}') {
		return
	}
	for !s.bad {
		key := s.str()
		s.expect(':')
		if s.bad {
			return
		}
		field(key)
		if !s.next(',') {
			break
		}
	}
	s.expect('}')
}

func (s *scanner) array(element func()) {
	s.expect('[')
	if s.next(']') {
		return
	}
	for !s.bad {
		element()
		if !s.next(',') {
			break
		}
	}
	s.expect(']')
}

func (s *scanner) next(c byte) bool {
	if s.at < len(s.text) && s.text[s.at] == c {
		s.at++
		return true
	}
	return false
}

func (s *scanner) expect(c byte) {
	if !s.next(c) {
		s.bad = true
	}
}

func (s *scanner) word(w string) bool {
	if strings.HasPrefix(s.text[s.at:], w) {
		s.at += len(w)
		return true
	}
	return false
}

func (s *scanner) boolean() bool {
	if s.word("true") {
		return true
	}
	if !s.word("false") {
		s.bad = true
	}
	return false
}

// str reads a string. One with escapes is decoded by encoding/json.
func (s *scanner) str() string {
	s.expect('"')
	start := s.at
	for ; s.at < len(s.text); s.at++ {
		switch c := s.text[s.at]; {
		case c == '"':
			text := s.text[start:s.at]
			s.at++
			if !utf8.ValidString(text) {
				s.bad = true
			}
			return text
		case c == '\\':
			return s.escaped(start)
		case c < ' ':
			s.bad = true
			return ""
		}
	}
	s.bad = true
	return ""
}

func (s *scanner) escaped(start int) string {
	for ; s.at < len(s.text); s.at++ {
		switch s.text[s.at] {
		case '\\':
			s.at++
		case '"':
			s.at++
			var text string
			if json.Unmarshal([]byte(s.text[start-1:s.at]), &text) != nil {
				s.bad = true
			}
			return text
		}
	}
	s.bad = true
	return ""
}

func (s *scanner) number() string {
	start := s.at
	s.next('-')
	for s.at < len(s.text) && s.text[s.at] >= '0' && s.text[s.at] <= '9' {
		s.at++
	}
	text := s.text[start:s.at]
	if digits := strings.TrimPrefix(text, "-"); digits == "" || digits[0] == '0' && len(digits) > 1 {
		s.bad = true
	}
	return text
}

func (s *scanner) integer() int {
	n, err := strconv.Atoi(s.number())
	s.bad = s.bad || err != nil
	return n
}

func (s *scanner) unsigned() uint64 {
	n, err := strconv.ParseUint(s.number(), 10, 64)
	s.bad = s.bad || err != nil
	return n
}

func (s *scanner) time() time.Time {
	start := s.at
	text := s.str()
	if s.bad || s.at-start != len(text)+2 {
		s.bad = true
		return time.Time{}
	}
	var t time.Time
	if t.UnmarshalText([]byte(text)) != nil {
		s.bad = true
	}
	return t
}
