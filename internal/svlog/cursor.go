package svlog

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

var errNotRegular = errors.New("not a regular file")

// cursor is a place in one log, as text "web=INODE.OFFSET.TIME.AFTER" with
// ".RUN~STREAM~COUNT" for what was given behind it, and "~BYTES" after that for a
// line that was not finished. Numbers are in base 36. The first version had no
// AFTER.
type cursor struct {
	service string
	file    fileID
	known   bool // file.after is
	offset  int64
	time    time.Time // of the last record with a stamp
	given   []givenPieces
}

// givenPieces is how many pieces of a stream behind a cursor were given, and how
// many bytes of the one after them, if that was begun.
type givenPieces struct {
	pieceKey
	count int
	begun bool
	bytes int
}

func (c cursor) String() string {
	var ns int64
	if !c.time.IsZero() {
		ns = c.time.UnixNano()
	}
	b := make([]byte, 0, len(c.service)+64)
	b = append(b, c.service...)
	b = append(b, '=')
	b = strconv.AppendUint(b, c.file.ino, 36)
	b = append(b, '.')
	b = strconv.AppendInt(b, c.offset, 36)
	b = append(b, '.')
	b = strconv.AppendInt(b, ns, 36)
	if !c.known {
		return string(b)
	}
	b = append(b, '.')
	b = strconv.AppendInt(b, c.file.after, 36)
	for _, g := range c.given {
		b = append(b, '.')
		b = strconv.AppendUint(b, g.run, 36)
		b = append(b, '~')
		b = append(b, g.stream...)
		b = append(b, '~')
		b = strconv.AppendInt(b, int64(g.count), 36)
		if g.begun {
			b = append(b, '~')
			b = strconv.AppendInt(b, int64(g.bytes), 36)
		}
	}
	return string(b)
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
		if !ok || service == "" || len(parts) < 3 {
			return nil, fmt.Errorf("cannot read log cursor %q: it is not of the form service=place", one)
		}
		c, err := parsePlace(parts)
		if err != nil {
			return nil, fmt.Errorf("cannot read log cursor %q: the place is not valid", one)
		}
		c.service = service
		all[service] = c
	}
	return all, nil
}

func parsePlace(parts []string) (c cursor, err error) {
	var errs [4]error
	var ns int64
	c.file.ino, errs[0] = strconv.ParseUint(parts[0], 36, 64)
	c.offset, errs[1] = strconv.ParseInt(parts[1], 36, 64)
	ns, errs[2] = strconv.ParseInt(parts[2], 36, 64)
	if len(parts) > 3 {
		c.known = true
		c.file.after, errs[3] = strconv.ParseInt(parts[3], 36, 64)
		for _, text := range parts[4:] {
			g, err := parseGiven(text)
			if err != nil {
				return c, err
			}
			c.given = append(c.given, g)
		}
	}
	if c.offset < 0 {
		return c, errors.New("negative")
	}
	if ns != 0 {
		c.time = time.Unix(0, ns).UTC()
	}
	return c, errors.Join(errs[:]...)
}

func parseGiven(text string) (g givenPieces, err error) {
	parts := strings.Split(text, "~")
	if len(parts) < 3 || len(parts) > 4 {
		return g, errors.New("not a count of pieces")
	}
	var errs [3]error
	var count, bytes uint64
	g.run, errs[0] = strconv.ParseUint(parts[0], 36, 64)
	g.stream = intern([]byte(parts[1]))
	count, errs[1] = strconv.ParseUint(parts[2], 36, 31)
	if g.begun = len(parts) == 4; g.begun {
		bytes, errs[2] = strconv.ParseUint(parts[3], 36, 31)
	}
	g.count, g.bytes = int(count), int(bytes)
	if err := errors.Join(errs[:]...); err != nil || g.stream != parts[1] || count == 0 && !g.begun {
		return g, errors.Join(err, errors.New("not a count of pieces"))
	}
	return g, nil
}
