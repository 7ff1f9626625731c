package svlog

import (
	"time"

	"github.com/abide-project/abide/internal/model"
)

// The lengths of a stamp in the two forms.
const (
	rfcLen = len("2026-11-22T17:39:00.123456789Z")
	taiLen = len("@4000000069678f2e075bcd15")
)

// taiOffset is the label of the Unix epoch: daemontools counts TAI as UTC + 10 s.
const taiOffset = 1<<62 + 10

// appendStamp appends the time ns (nanoseconds since 1970) in the given form.
func appendStamp(dst []byte, form model.Stamp, ns int64) []byte {
	switch form {
	case model.StampRFC3339:
		return time.Unix(0, ns).UTC().AppendFormat(dst, "2006-01-02T15:04:05.000000000Z")
	case model.StampTAI64N:
		sec, frac := ns/1e9, ns%1e9
		if frac < 0 {
			sec, frac = sec-1, frac+1e9
		}
		dst = append(dst, '@')
		dst = appendHex(dst, uint64(sec)+taiOffset, 16)
		return appendHex(dst, uint64(frac), 8)
	}
	return dst
}

const hexDigits = "0123456789abcdef"

func appendHex(dst []byte, v uint64, digits int) []byte {
	for shift := 4 * (digits - 1); shift >= 0; shift -= 4 {
		dst = append(dst, hexDigits[v>>shift&15])
	}
	return dst
}

// bump adds one nanosecond to a stamp in place. It reports false, and leaves the
// stamp unusable, when the second is over.
func bump(stamp []byte, form model.Stamp) bool {
	if form == model.StampTAI64N {
		for i := taiLen - 1; i >= taiLen-8; i-- {
			if stamp[i] == 'f' {
				stamp[i] = '0'
				continue
			}
			if stamp[i]++; stamp[i] == '9'+1 {
				stamp[i] = 'a'
			}
			// A full second is 0x3b9aca00, which only a carry out of the last
			// two digits can reach.
			return i > taiLen-3 || string(stamp[taiLen-8:taiLen]) != "3b9aca00"
		}
		return false
	}
	for i := rfcLen - 2; i > rfcLen-11; i-- {
		if stamp[i] != '9' {
			stamp[i]++
			return true
		}
		stamp[i] = '0'
	}
	return false
}

// parseStamp reads a stamp at the start of line. It returns the time, how many
// bytes it took (0: there is none) and the form.
func parseStamp(line []byte) (ns int64, n int, form model.Stamp) {
	if len(line) >= taiLen && line[0] == '@' {
		sec, ok := parseHex(line[1:17])
		frac, ok2 := parseHex(line[17:25])
		if !ok || !ok2 || frac >= 1e9 || sec < 1<<62 || sec-(1<<62) > 1<<33 {
			return 0, 0, 0
		}
		return int64(sec-taiOffset)*1e9 + int64(frac), taiLen, model.StampTAI64N
	}
	if len(line) < rfcLen || line[4] != '-' || line[10] != 'T' || line[19] != '.' || line[rfcLen-1] != 'Z' {
		return 0, 0, 0
	}
	t, err := time.Parse("2006-01-02T15:04:05.000000000Z", string(line[:rfcLen]))
	if err != nil || t.Year() < 1678 || t.Year() > 2261 {
		return 0, 0, 0
	}
	return t.UnixNano(), rfcLen, model.StampRFC3339
}

func parseHex(b []byte) (uint64, bool) {
	var v uint64
	for _, c := range b {
		switch {
		case c >= '0' && c <= '9':
			v = v<<4 | uint64(c-'0')
		case c >= 'a' && c <= 'f':
			v = v<<4 | uint64(c-'a'+10)
		default:
			return 0, false
		}
	}
	return v, true
}
