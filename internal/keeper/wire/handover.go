package wire

// The messages of a hand-over, with seq 0: an engine whose keeper has ended gives
// the next keeper what the dead one had: LOCK, LISTENER, LEASE, then every PIDFD,
// then every HELD, then DONE. Each comes with one
// descriptor, but DONE, which is answered by OK once the new keeper has taken
// everything.
const (
	TypeListener Type = 64 + iota // no body: the listener of RUN/control.sock
	TypeLock                      // no body: RUN/lock, locked
	TypeHeld                      // Held: what the keeper held for a run
	TypePidfd                     // LiveRun: the pidfd of a run's main process
	TypeLease                     // no body: the lease of `abide up`
	TypeDone                      // no body, no descriptor: that was all
)

// Handover says whether the type is one of a hand-over.
func (t Type) Handover() bool { return t >= TypeListener && t <= TypeDone }

// LiveRun names the main process of a run. Start is field 22 of /proc/PID/stat, 0
// if it is not known.
type LiveRun struct {
	Name  []byte
	Run   uint64
	Pid   uint32
	Start uint64
}

// Append writes the whole message to an empty buffer.
func (m *LiveRun) Append(b []byte) []byte {
	b = put64(putName(Begin(b, TypePidfd, 0), m.Name), m.Run)
	return End(put64(put32(b, m.Pid), m.Start))
}

// Decode reads the body; Name points into it.
func (m *LiveRun) Decode(body []byte) Code {
	c := cursor{b: body}
	m.Name = c.name()
	m.Run = c.u64()
	m.Pid = c.u32()
	m.Start = c.u64()
	if m.Run == 0 || m.Pid == 0 {
		return CodeBody
	}
	return goodNameAnd(m.Name, c.end())
}
