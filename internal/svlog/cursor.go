package svlog

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

var errNotRegular = errors.New("not a regular file")

// cursor is a place in one log, as text "web=INODE.OFFSET.TIME".
type cursor struct {
	service string
	ino     uint64 // 0: in a compressed file, only the time counts
	offset  int64
	time    time.Time
}

func (c cursor) String() string {
	var ns int64
	if !c.time.IsZero() {
		ns = c.time.UnixNano()
	}
	b := make([]byte, 0, len(c.service)+48)
	b = append(b, c.service...)
	b = append(b, '=')
	b = strconv.AppendUint(b, c.ino, 36)
	b = append(b, '.')
	b = strconv.AppendInt(b, c.offset, 36)
	b = append(b, '.')
	return string(strconv.AppendInt(b, ns, 36))
}

// parseCursors reads cursors with commas between them. Of several for one service
// the last counts.
func parseCursors(s string) (map[string]cursor, error) {
	all := map[string]cursor{}
	if s == "" {
		return all, nil
	}
	for _, one := range strings.Split(s, ",") {
		service, place, ok := strings.Cut(one, "=")
		parts := strings.Split(place, ".")
		if !ok || service == "" || len(parts) != 3 {
			return nil, fmt.Errorf("cannot read log cursor %q: it is not of the form service=place", one)
		}
		ino, err1 := strconv.ParseUint(parts[0], 36, 64)
		offset, err2 := strconv.ParseInt(parts[1], 36, 64)
		ns, err3 := strconv.ParseInt(parts[2], 36, 64)
		if err := errors.Join(err1, err2, err3); err != nil || offset < 0 {
			return nil, fmt.Errorf("cannot read log cursor %q: the place is not valid", one)
		}
		c := cursor{service: service, ino: ino, offset: offset}
		if ns != 0 {
			c.time = time.Unix(0, ns).UTC()
		}
		all[service] = c
	}
	return all, nil
}
