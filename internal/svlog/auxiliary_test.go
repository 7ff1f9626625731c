package svlog

import "testing"

func TestLinesOfAHookBearItsNameAndTheRunItBelongsTo(t *testing.T) {
	for _, c := range []struct {
		name   string
		number uint64
		s      stream
		run    uint64
		label  string
	}{
		{"web", 7, streamErr, 7, "err"},
		{"web/before_start", AuxNumber(7, 2), streamOut, 7, "before_start"},
		{"web/before_start", AuxNumber(7, 2), streamErr, 7, "before_start"},
		{"web/reload", AuxNumber(7, 1<<16+3), streamOut, 7, "reload"},
		{"web/other", 9, streamOut, 9, "out"},
		{"web/before_start", 9, streamOwn, 9, "abide"},
	} {
		if run, label := shown(c.name, c.number, c.s); run != c.run || label != c.label {
			t.Errorf("%s %d: %d %s, want %d %s", c.name, c.number, run, label, c.run, c.label)
		}
	}
}

func TestLinesOfAHookAreReadBack(t *testing.T) {
	for line, want := range map[string]Record{
		"2001-09-09T01:46:40.000000001Z 7 before_start migrating":   {Run: 7, Stream: "before_start", Text: []byte("migrating")},
		"2001-09-09T01:46:40.000000001Z 7 after_stop+ and the rest": {Run: 7, Stream: "after_stop", Text: []byte("and the rest"), Continued: true},
		"2001-09-09T01:46:40.000000001Z 7 abide+ no":                {Text: []byte("2001-09-09T01:46:40.000000001Z 7 abide+ no")},
		"2001-09-09T01:46:40.000000001Z 7 nobody hello":             {Text: []byte("2001-09-09T01:46:40.000000001Z 7 nobody hello")},
	} {
		got := parseLine([]byte(line))
		if got.Run != want.Run || got.Stream != want.Stream || string(got.Text) != string(want.Text) || got.Continued != want.Continued {
			t.Errorf("%s\nread as %+v", line, got)
		}
	}
}
