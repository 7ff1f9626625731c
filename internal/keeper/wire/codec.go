package wire

func le32(b []byte) uint32 {
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}

func put16(b []byte, v uint16) []byte { return append(b, byte(v), byte(v>>8)) }

func put32(b []byte, v uint32) []byte {
	return append(b, byte(v), byte(v>>8), byte(v>>16), byte(v>>24))
}

func put64(b []byte, v uint64) []byte { return put32(put32(b, uint32(v)), uint32(v>>32)) }

// putName cuts a name that is too long; the reader then refuses nothing, but the
// keeper knows no such service. Callers check names first.
func putName(b []byte, name []byte) []byte {
	if len(name) > MaxName {
		name = name[:MaxName]
	}
	return append(append(b, byte(len(name))), name...)
}

// putText cuts what is too long for a path, as putName does for a name.
func putText(b []byte, text []byte) []byte {
	text = text[:min(len(text), MaxPath)]
	return append(put16(b, uint16(len(text))), text...)
}

// cursor reads a body from the front; after the first lack of bytes it only
// returns zeros and remembers.
type cursor struct {
	b     []byte
	short bool
}

func (c *cursor) take(n int) []byte {
	if c.short || len(c.b) < n {
		c.short = true
		return nil
	}
	out := c.b[:n]
	c.b = c.b[n:]
	return out
}

func (c *cursor) u8() uint8 {
	if b := c.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (c *cursor) u32() uint32 {
	if b := c.take(4); b != nil {
		return le32(b)
	}
	return 0
}

func (c *cursor) u64() uint64 {
	lo := c.u32()
	return uint64(lo) | uint64(c.u32())<<32
}

func (c *cursor) text() []byte {
	n := c.take(2)
	if n == nil {
		return nil
	}
	return c.take(int(n[0]) | int(n[1])<<8)
}

func (c *cursor) name() []byte { return c.take(int(c.u8())) }

// end is the verdict over a body that must be used up.
func (c *cursor) end() Code {
	if c.short || len(c.b) != 0 {
		return CodeBody
	}
	return CodeNone
}

func goodNameAnd(name []byte, rest Code) Code {
	if rest != CodeNone {
		return rest
	}
	if !GoodName(name) {
		return CodeName
	}
	return CodeNone
}
