package svlog

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"

	"github.com/abide-project/abide/internal/model"
)

// Record is one line that a program wrote, or a note of abide's own.
type Record struct {
	Service string
	Time    time.Time // zero where the log has no stamps and none can be told
	Run     uint64    // 0 where the log does not say
	Stream  string    // "out", "err", "abide", a command's name, or "" where the log does not say
	Text    []byte    // without the newline; the receiver may keep it
	// Partial tells that the line goes on: in a later record of the same run and
	// stream, or, at the end of a log, when the program writes on.
	Partial bool
	// Continued tells that the record goes on with a line that began earlier.
	Continued bool
	// Cursor says where in its log the record ends, see Query.After.
	Cursor string

	number uint64   // of its first piece in the reader's window
	more   []uint64 // and of the others
}

// parseLine reads one line of a log in any of the forms, without its newline.
// What has none of them is a record of text alone.
func parseLine(line []byte) (r Record) {
	if len(line) > 1 && line[0] == '{' {
		if r, ok := parseJSON(line); ok {
			return r
		}
	}
	ns, n, _ := parseStamp(line)
	if n == 0 || len(line) <= n || line[n] != ' ' {
		return Record{Text: line}
	}
	rest := line[n+1:]
	number, rest, ok := bytes.Cut(rest, space)
	run, err := strconv.ParseUint(string(number), 10, 64)
	if !ok || err != nil {
		return Record{Text: line}
	}
	name, text, ok := bytes.Cut(rest, space)
	if !ok {
		return Record{Text: line}
	}
	r = Record{Time: time.Unix(0, ns).UTC(), Run: run, Text: text}
	if r.Stream = intern(name); r.Stream == "" {
		if name, r.Continued = bytes.CutSuffix(name, continued); r.Continued {
			r.Stream = intern(name)
		}
	}
	if r.Stream == "" || r.Continued && r.Stream == streamNames[streamOwn] {
		return Record{Text: line}
	}
	return r
}

var (
	space     = []byte{' '}
	continued = []byte{'+'}
	// lostPrefix begins the note that stands where bytes are missing.
	lostPrefix = []byte("dropped ")
)

// intern avoids a copy for the names that there are.
func intern(name []byte) string {
	for _, s := range streamNames {
		if string(name) == s {
			return s
		}
	}
	for _, s := range commandNames {
		if string(name) == s {
			return s
		}
	}
	return ""
}

func parseJSON(line []byte) (Record, bool) {
	var v struct {
		Time    *string `json:"time"`
		Run     *uint64 `json:"run"`
		Stream  string  `json:"stream"`
		Text    *string `json:"text"`
		Base64  []byte  `json:"base64"`
		Partial bool    `json:"partial"`
	}
	if json.Unmarshal(line, &v) != nil || v.Time == nil || v.Run == nil || (v.Text == nil) == (v.Base64 == nil) {
		return Record{}, false
	}
	ns, n, form := parseStamp([]byte(*v.Time))
	stream := intern([]byte(v.Stream))
	if n != len(*v.Time) || form != model.StampRFC3339 || stream == "" {
		return Record{}, false
	}
	r := Record{Time: time.Unix(0, ns).UTC(), Run: *v.Run, Stream: stream, Text: v.Base64, Partial: v.Partial}
	if v.Text != nil {
		r.Text = []byte(*v.Text)
	}
	return r, true
}
