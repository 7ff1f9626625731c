package raw

import (
	"strconv"
	"testing"
)

const statLine = "812 (a) S 1 b (x) R 1 812 812 0 -1 4194560 1 0 0 0 3 4 0 0 20 0 1 0 91234 1000 2 18446744073709551615\n"

func TestParseStatReadsPastAnyName(t *testing.T) {
	st, ok := ParseStat([]byte(statLine))
	if !ok || st.State != 'R' || st.Ppid != 1 || st.Start != 91234 {
		t.Errorf("%+v %v", st, ok)
	}
	for n := range len("812 (a) S 1 b (x) R 1 812 812 0 -1 4194560 1 0 0 0 3 4 0 0 20 0 1 0 91234") {
		if _, ok := ParseStat([]byte(statLine[:n+1])); ok {
			t.Errorf("a line cut off after %d bytes is accepted", n+1)
		}
	}
}

func TestNumbersAreExact(t *testing.T) {
	for _, n := range []int64{0, 7, 10, -1, 1<<63 - 1, -1 << 63} {
		if got := string(AppendNumber(nil, n)); got != strconv.FormatInt(n, 10) {
			t.Errorf("%d is written %s", n, got)
		}
	}
	for text, want := range map[string]bool{"0": true, "18446744073709551615": true, "18446744073709551616": false, "": false, "1x": false, "-1": false} {
		if _, ok := Number([]byte(text)); ok != want {
			t.Errorf("Number(%q) %v", text, ok)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte(statLine))
	f.Add([]byte(")))"))
	f.Fuzz(func(t *testing.T, line []byte) { ParseStat(line) })
}

func FuzzNumber(f *testing.F) {
	f.Add([]byte("18446744073709551615"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, ok := Number(b)
		if m, err := strconv.ParseUint(string(b), 10, 64); ok != (err == nil) || (ok && n != m) {
			// strconv takes signs and underscores nowhere with base 10 either.
			t.Errorf("Number(%q) = %d %v, strconv says %d %v", b, n, ok, m, err)
		}
	})
}
