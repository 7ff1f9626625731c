package conditions

import (
	"cmp"
	"strings"
)

// operators are tried in this order: the longer before what they begin with.
var operators = []struct {
	text  string
	holds func(order int) bool
}{
	{">=", func(o int) bool { return o >= 0 }},
	{"<=", func(o int) bool { return o <= 0 }},
	{"!=", func(o int) bool { return o != 0 }},
	{"==", func(o int) bool { return o == 0 }},
	{">", func(o int) bool { return o > 0 }},
	{"<", func(o int) bool { return o < 0 }},
	{"=", func(o int) bool { return o == 0 }},
}

// kernel judges ">= 5.10", or a glob of the whole release.
func kernel(text, release string) bool {
	text = strings.TrimSpace(text)
	for _, op := range operators {
		if version, ok := strings.CutPrefix(text, op.text); ok {
			return op.holds(compare(release, strings.TrimSpace(version)))
		}
	}
	return matches(text, release)
}

// compare puts a release in order with a version by the numbers that the version
// has: 6.18.0-1-amd64 is equal to 6.18, and 5.10.0-28 is after 5.10.0-9.
func compare(release, version string) int {
	have, want := numbers(release), numbers(version)
	for i, w := range want {
		h := "0"
		if i < len(have) {
			h = have[i]
		}
		if c := compareNumbers(h, w); c != 0 {
			return c
		}
	}
	return 0
}

// numbers are the runs of digits in the text, up to a part that begins with
// something else.
func numbers(text string) []string {
	var list []string
	for text != "" {
		end := 0
		for end < len(text) && text[end] >= '0' && text[end] <= '9' {
			end++
		}
		if end == 0 {
			break
		}
		list = append(list, text[:end])
		text = text[end:]
		if text == "" || !strings.ContainsRune(".-", rune(text[0])) {
			break
		}
		text = text[1:]
	}
	return list
}

func compareNumbers(a, b string) int {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	if c := cmp.Compare(len(a), len(b)); c != 0 {
		return c
	}
	return strings.Compare(a, b)
}
