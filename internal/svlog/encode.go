package svlog

import (
	"bytes"
	"encoding/base64"
	"strconv"
	"unicode/utf8"

	"github.com/abide-project/abide/internal/model"
)

// stream says which output of a run a line came from.
type stream uint8

// streamOwn is abide's own word about the service.
const (
	streamOut stream = iota
	streamErr
	streamOwn
)

var newline = []byte{'\n'}

var streamNames = [...]string{"out", "err", "abide"}

const (
	prefixMax = 80       // stamp, run number and stream, at most
	jsonPiece = 16 << 10 // bytes of one JSON object's text; longer lines are several
	jsonMax   = 6*jsonPiece + 2048
)

// form is how a log's lines look.
type form struct {
	stamp model.Stamp
	json  bool
}

// encoder turns the bytes of one source into the lines of one sink. It is plain
// data: the same encoder given the same bytes makes the same lines, which is what
// lets a take be done again after a crash.
type encoder struct {
	form
	service string
	run     uint64
	label   string // what stands in the place of the stream
	id      uint64 // of the source

	open  uint64 // the source whose line stands unfinished at the end of the log, 0: none
	mid   bool   // this source's line goes on
	stamp int64  // of the next line

	prefix    [prefixMax]byte // of a whole line at stamp, valid when prefixLen > 0
	prefixLen int
}

// sameRun tells whether two source ids are streams of one run.
func sameRun(a, b uint64) bool { return a>>1 == b>>1 }

// encode appends src to dst as lines, never growing dst beyond its capacity, and
// returns how many bytes of src it used up. A line may be continued by the next
// call: nothing is ever held back.
func (e *encoder) encode(dst, src []byte) ([]byte, int) {
	if e.json {
		return e.encodeJSON(dst, src)
	}
	done := 0
	for done < len(src) {
		if e.open != e.id {
			if cap(dst)-len(dst) < prefixMax+2 {
				break
			}
			dst = e.begin(dst)
		}
		rest := src[done:]
		if room := cap(dst) - len(dst); len(rest) > room {
			if rest = rest[:room]; room == 0 {
				break
			}
		}
		if end := bytes.IndexByte(rest, '\n'); end >= 0 {
			dst = append(dst, rest[:end+1]...)
			done += end + 1
			e.open, e.mid = 0, false
		} else {
			dst = append(dst, rest...)
			done += len(rest)
			e.mid = true
		}
	}
	return dst, done
}

// begin starts a line of this source, ending the line another one left open.
func (e *encoder) begin(dst []byte) []byte {
	if e.open != 0 && (e.form.stamp != model.StampNone || !sameRun(e.open, e.id)) {
		dst = append(dst, '\n')
	}
	e.open = e.id
	if e.form.stamp == model.StampNone {
		e.stamp++
		return dst
	}
	if e.mid {
		dst = e.head(dst, e.run, e.label, "+ ")
		e.stamp++
		e.prefixLen = 0
		return dst
	}
	if e.prefixLen == 0 {
		e.prefixLen = len(e.head(e.prefix[:0], e.run, e.label, " "))
	}
	dst = append(dst, e.prefix[:e.prefixLen]...)
	e.stamp++
	if !bump(e.prefix[:], e.form.stamp) {
		e.prefixLen = 0
	}
	return dst
}

// head appends what stands before the text of a line.
func (e *encoder) head(dst []byte, run uint64, stream, end string) []byte {
	dst = appendStamp(dst, e.form.stamp, e.stamp)
	dst = append(dst, ' ')
	dst = strconv.AppendUint(dst, run, 10)
	dst = append(dst, ' ')
	dst = append(dst, stream...)
	return append(dst, end...)
}

// finish ends the source's unfinished line: nothing will follow it.
func (e *encoder) finish(dst []byte) []byte {
	if e.open == e.id {
		dst = append(dst, '\n')
		e.open = 0
	}
	e.mid = false
	return dst
}

// note appends a line of abide's own. Text has no newline.
func (e *encoder) note(dst []byte, run uint64, text []byte) []byte {
	e.prefixLen = 0
	if e.json {
		return e.object(dst, run, streamNames[streamOwn], text, false)
	}
	if e.open != 0 {
		dst = append(dst, '\n')
		e.open = 0
	}
	if e.form.stamp == model.StampNone {
		dst = append(dst, "abide: "...)
	} else {
		dst = e.head(dst, run, streamNames[streamOwn], " ")
	}
	e.stamp++
	dst = append(dst, text...)
	return append(dst, '\n')
}

// encodeJSON is encode for logs of one JSON object a line. An object is always
// whole; a line that is not finished, or too long for one, is marked partial and
// goes on in the next object of the same run and stream.
func (e *encoder) encodeJSON(dst, src []byte) ([]byte, int) {
	done := 0
	for done < len(src) && cap(dst)-len(dst) >= jsonMax {
		piece := src[done:min(len(src), done+jsonPiece)]
		partial := true
		used := len(piece)
		if end := bytes.IndexByte(piece, '\n'); end >= 0 {
			piece, used, partial = piece[:end], end+1, false
		}
		dst = e.object(dst, e.run, e.label, piece, partial)
		done += used
		e.mid = partial
	}
	return dst, done
}

func (e *encoder) object(dst []byte, run uint64, stream string, text []byte, partial bool) []byte {
	dst = append(dst, `{"time":"`...)
	dst = appendStamp(dst, model.StampRFC3339, e.stamp)
	e.stamp++
	dst = append(dst, `","service":`...)
	dst = appendJSONText(dst, e.service)
	dst = append(dst, `,"run":`...)
	dst = strconv.AppendUint(dst, run, 10)
	dst = append(dst, `,"stream":"`...)
	dst = append(dst, stream...)
	if utf8.Valid(text) {
		dst = append(dst, `","text":`...)
		dst = appendJSONText(dst, text)
	} else {
		dst = append(dst, `","base64":"`...)
		dst = base64.StdEncoding.AppendEncode(dst, text)
		dst = append(dst, '"')
	}
	if partial {
		dst = append(dst, `,"partial":true`...)
	}
	return append(dst, "}\n"...)
}

// appendJSONText appends valid UTF-8 as a JSON string.
func appendJSONText[T string | []byte](dst []byte, s T) []byte {
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c != 0x7f {
			continue
		}
		dst = append(dst, s[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\t':
			dst = append(dst, '\\', 't')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\n':
			dst = append(dst, '\\', 'n')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	dst = append(dst, s[from:]...)
	return append(dst, '"')
}
