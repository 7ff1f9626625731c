package svlog

import (
	"cmp"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A log that is done with is named after the file it was, the time it was done
// with, and how it is stored:
//
//	LOG/web/current            LOG/web/@20261122T173900.123456789Z.log.zst
//	/srv/shop/shop.log         /srv/shop/shop.log@20261122T173900.123456789Z.log
//
// so that an ordinary listing has them in order of time.
const (
	nameTime  = "20060102T150405.000000000Z"
	suffixLog = ".log"
	suffixZst = ".log.zst"
	suffixTmp = ".tmp"
)

// rotatedPrefix is what the names of base's rotated logs begin with.
func rotatedPrefix(base string) string {
	if base == "current" {
		return "@"
	}
	return base + "@"
}

func rotatedName(base string, ns int64) string {
	return rotatedPrefix(base) + time.Unix(0, ns).UTC().Format(nameTime) + suffixLog
}

// rotatedLog is one rotated log in a listing.
type rotatedLog struct {
	name   string // of the file, within its folder
	time   int64  // when it was done with, nanoseconds since 1970
	packed bool   // compressed
	size   int64  // set by who needs it
}

// parseRotated reads the name of one of base's rotated logs. Tmp tells that it is
// what an interrupted compression left.
func parseRotated(base, name string) (log rotatedLog, tmp, ok bool) {
	rest, ok := strings.CutPrefix(name, rotatedPrefix(base))
	if !ok || len(rest) < len(nameTime) {
		return log, false, false
	}
	t, err := time.Parse(nameTime, rest[:len(nameTime)])
	if err != nil || t.Year() < 1970 || t.Year() > 2261 {
		return log, false, false
	}
	log = rotatedLog{name: name, time: t.UnixNano()}
	switch rest[len(nameTime):] {
	case suffixLog:
	case suffixZst:
		log.packed = true
	case suffixZst + suffixTmp:
		return log, true, true
	default:
		return log, false, false
	}
	return log, false, true
}

// sortRotated puts logs in order of time. Of one stored both ways, as an
// interrupted compression leaves it, both stay, the plain one first.
func sortRotated(logs []rotatedLog) {
	slices.SortFunc(logs, func(a, b rotatedLog) int {
		if c := cmp.Compare(a.time, b.time); c != 0 {
			return c
		}
		return cmp.Compare(a.name, b.name)
	})
}

func splitPath(path string) (dir, base string) {
	return filepath.Dir(path), filepath.Base(path)
}
