package wire

// What a Rebuild wants to be given.
const (
	RebuildListener uint32 = iota // of control.sock
	RebuildLock                   // RUN/lock, held
	rebuildWants
)

// Rebuild asks the keeper to make those of RUN's files again that are missing:
// lock, id, keeper.state and control.sock. The directory must be there. The answer
// is FD with a copy of the descriptor that is wanted, the present one where its
// file was in place.
type Rebuild struct{ Want uint32 }

// Append writes the whole message to an empty buffer.
func (m *Rebuild) Append(b []byte, seq uint32) []byte {
	return End(put32(Begin(b, TypeRebuild, seq), m.Want))
}

// Decode reads the body.
func (m *Rebuild) Decode(body []byte) Code {
	c := cursor{b: body}
	m.Want = c.u32()
	if m.Want >= rebuildWants {
		return CodeBody
	}
	return c.end()
}
