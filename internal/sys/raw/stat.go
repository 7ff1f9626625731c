package raw

// Stat is what the keeper needs of /proc/PID/stat (proc_pid_stat(5)).
type Stat struct {
	State byte
	Ppid  int
	Start uint64 // field 22: clock ticks since boot
}

// ParseStat reads the one line of /proc/PID/stat. The program's name in it may
// hold anything, spaces and parentheses included; the last ')' ends it.
func ParseStat(line []byte) (Stat, bool) {
	end := -1
	for i := len(line) - 1; i >= 0; i-- {
		if line[i] == ')' {
			end = i
			break
		}
	}
	if end < 0 {
		return Stat{}, false
	}
	var st Stat
	field := 2
	for i := end + 1; i < len(line); {
		if line[i] == ' ' || line[i] == '\n' {
			i++
			continue
		}
		from := i
		for i < len(line) && line[i] != ' ' && line[i] != '\n' {
			i++
		}
		word := line[from:i]
		field++
		switch field {
		case 3:
			if len(word) != 1 {
				return Stat{}, false
			}
			st.State = word[0]
		case 4:
			n, ok := Number(word)
			if !ok || n > 1<<30 {
				return Stat{}, false
			}
			st.Ppid = int(n)
		case 22:
			// The line goes on after this field unless it was cut off in it.
			n, ok := Number(word)
			if !ok || i == len(line) {
				return Stat{}, false
			}
			st.Start = n
			return st, true
		}
	}
	return Stat{}, false
}

// Number reads an unsigned decimal number that fills b.
func Number(b []byte) (uint64, bool) {
	if len(b) == 0 {
		return 0, false
	}
	var n uint64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		d := uint64(c - '0')
		if n > (1<<64-1-d)/10 {
			return 0, false
		}
		n = n*10 + d
	}
	return n, true
}

// AppendNumber appends n in decimal.
func AppendNumber(b []byte, n int64) []byte {
	if n < 0 {
		return appendUnsigned(append(b, '-'), uint64(-n))
	}
	return appendUnsigned(b, uint64(n))
}

func appendUnsigned(b []byte, u uint64) []byte {
	var digits [20]byte
	i := len(digits)
	for {
		i--
		digits[i] = byte('0' + u%10)
		if u /= 10; u == 0 {
			return append(b, digits[i:]...)
		}
	}
}
