package wire

// HeirVariable is the name in an engine's environment under which its keeper says
// how to put another one in its place. The engine needs it when the keeper is
// killed before the two have met; later it has looked for itself.
const HeirVariable = "ABIDE_KEEPER"

// Heir is what that variable says: the pid of the keeper, the limits of open
// descriptors that services get, and the keeper's command line, its path first.
type Heir struct {
	Pid   int
	Soft  uint64
	Hard  uint64
	Words []string
}

// Text is the value of the variable: three numbers and then the words, each as
// LENGTH:WORD, because a path may contain anything.
func (h *Heir) Text() string {
	b := appendDecimal(nil, uint64(h.Pid))
	b = appendDecimal(append(b, ' '), h.Soft)
	b = appendDecimal(append(b, ' '), h.Hard)
	for _, word := range h.Words {
		b = appendDecimal(append(b, ' '), uint64(len(word)))
		b = append(append(b, ':'), word...)
	}
	return string(b)
}

// ParseHeir reads such a value.
func ParseHeir(text string) (h Heir, ok bool) {
	var numbers [3]uint64
	for i := range numbers {
		if i > 0 {
			if text == "" || text[0] != ' ' {
				return h, false
			}
			text = text[1:]
		}
		if numbers[i], text, ok = cutDecimal(text); !ok {
			return h, false
		}
	}
	if numbers[0] == 0 || numbers[0] > 1<<30 {
		return h, false
	}
	h = Heir{Pid: int(numbers[0]), Soft: numbers[1], Hard: numbers[2]}
	for text != "" {
		if text[0] != ' ' {
			return h, false
		}
		var n uint64
		if n, text, ok = cutDecimal(text[1:]); !ok || text == "" || text[0] != ':' || n > uint64(len(text)-1) {
			return h, false
		}
		h.Words = append(h.Words, text[1:1+n])
		text = text[1+n:]
	}
	return h, len(h.Words) > 0
}

func appendDecimal(b []byte, n uint64) []byte {
	var digits [20]byte
	i := len(digits)
	for first := true; first || n > 0; first = false {
		i--
		digits[i] = byte('0' + n%10)
		n /= 10
	}
	return append(b, digits[i:]...)
}

// cutDecimal reads the number that a text begins with.
func cutDecimal(text string) (n uint64, rest string, ok bool) {
	i := 0
	for ; i < len(text) && '0' <= text[i] && text[i] <= '9'; i++ {
		const most = 1 << 60
		if n > most/10 {
			return 0, text, false
		}
		n = 10*n + uint64(text[i]-'0')
	}
	return n, text[i:], i > 0
}
