package wire

import (
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/abide-project/abide/internal/control"
)

// AppendStatus appends s as a JSON object. It writes what encoding/json would
// but for empty lists, which are [] and never null.
func AppendStatus(b []byte, s *control.Status) []byte {
	b = appendString(append(b, `{"name":`...), s.Name)
	b = appendString(append(b, `,"service":`...), s.Service)
	b = appendString(append(b, `,"instance":`...), s.Instance)
	b = appendString(append(b, `,"kind":`...), s.Kind)
	b = appendString(append(b, `,"state":`...), s.State)
	b = strconv.AppendBool(append(b, `,"wanted":`...), s.Wanted)
	b = strconv.AppendBool(append(b, `,"enabled":`...), s.Enabled)
	b = strconv.AppendInt(append(b, `,"pid":`...), int64(s.Pid), 10)
	b = strconv.AppendUint(append(b, `,"run":`...), s.Run, 10)
	b = appendTime(append(b, `,"since":`...), s.Since)
	b = strconv.AppendBool(append(b, `,"ready":`...), s.Ready)
	b = strconv.AppendBool(append(b, `,"paused":`...), s.Paused)
	b = strconv.AppendUint(append(b, `,"restarts":`...), s.Restarts, 10)
	b = append(b, `,"waiting_for":[`...)
	for i, w := range s.WaitingFor {
		b = appendString(comma(b, i), w)
	}
	b = appendString(append(b, `],"why":`...), s.Why)
	b = appendString(append(b, `,"fault":`...), s.Fault)
	b = strconv.AppendBool(append(b, `,"pinned":`...), s.Pinned)
	b = appendString(append(b, `,"definition":{"path":`...), s.Definition.Path)
	b = strconv.AppendBool(append(b, `,"changed":`...), s.Definition.Changed)
	b = appendExit(append(b, `},"last_exit":`...), s.LastExit)
	b = appendString(append(b, `,"containment":`...), s.Containment)
	b = append(b, `,"strays":[`...)
	for i, pid := range s.Strays {
		b = strconv.AppendInt(comma(b, i), int64(pid), 10)
	}
	b = appendString(append(b, `],"log":{"path":`...), s.Log.Path)
	b = strconv.AppendUint(append(b, `,"dropped_bytes":`...), s.Log.DroppedBytes, 10)
	b = strconv.AppendUint(append(b, `,"dropped_lines":`...), s.Log.DroppedLines, 10)
	b = append(b, `},"last_output":[`...)
	for i, line := range s.LastOutput {
		b = appendString(comma(b, i), line)
	}
	return append(b, "]}"...)
}

// AppendLogRecord appends r as a JSON object without a line end.
func AppendLogRecord(b []byte, r *control.LogRecord) []byte {
	b = appendString(append(b, `{"service":`...), r.Service)
	b = appendTime(append(b, `,"time":`...), r.Time)
	b = strconv.AppendUint(append(b, `,"run":`...), r.Run, 10)
	b = appendString(append(b, `,"stream":`...), r.Stream)
	b = appendString(append(b, `,"text":`...), r.Text)
	if r.Base64 {
		b = append(b, `,"base64":true`...)
	}
	if r.Cursor != "" {
		b = appendString(append(b, `,"cursor":`...), r.Cursor)
	}
	return append(b, '}')
}

func appendExit(b []byte, e *control.Exit) []byte {
	if e == nil {
		return append(b, "null"...)
	}
	b = strconv.AppendUint(append(b, `{"run":`...), e.Run, 10)
	b = appendTime(append(b, `,"at":`...), e.At)
	b = append(b, `,"code":`...)
	if e.Code == nil {
		b = append(b, "null"...)
	} else {
		b = strconv.AppendInt(b, int64(*e.Code), 10)
	}
	b = append(b, `,"signal":`...)
	if e.Signal == nil {
		b = append(b, "null"...)
	} else {
		b = appendString(b, *e.Signal)
	}
	b = strconv.AppendBool(append(b, `,"core":`...), e.Core)
	b = strconv.AppendBool(append(b, `,"oom":`...), e.OOM)
	b = strconv.AppendBool(append(b, `,"unknown":`...), e.Unknown)
	return append(b, '}')
}

func comma(b []byte, i int) []byte {
	if i > 0 {
		return append(b, ',')
	}
	return b
}

func appendTime(b []byte, t time.Time) []byte {
	b = t.AppendFormat(append(b, '"'), time.RFC3339Nano)
	return append(b, '"')
}

const hexDigits = "0123456789abcdef"

// appendString appends s quoted. Bytes that are not UTF-8 become U+FFFD, as in
// encoding/json.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				b = append(append(b, s[start:i]...), "\uFFFD"...)
				start = i + 1
			}
			i += n
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		b = append(b, s[start:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\t':
			b = append(b, '\\', 't')
		case '\r':
			b = append(b, '\\', 'r')
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		start = i
	}
	return append(append(b, s[start:]...), '"')
}
