package wire

// Hello opens a connection. Version is the highest that the engine speaks; a
// keeper that answers ERROR with CodeVersion knows only lower ones.
type Hello struct{ Version uint32 }

// Append writes the whole message to an empty buffer.
func (m *Hello) Append(b []byte, seq uint32) []byte {
	return End(put32(Begin(b, TypeHello, seq), m.Version))
}

// Decode reads the body.
func (m *Hello) Decode(body []byte) Code {
	c := cursor{b: body}
	m.Version = c.u32()
	return c.end()
}

// List asks for the inventory from a slot on; 0 begins.
type List struct{ From uint32 }

// Append writes the whole message to an empty buffer.
func (m *List) Append(b []byte, seq uint32) []byte {
	return End(put32(Begin(b, TypeList, seq), m.From))
}

// Decode reads the body.
func (m *List) Decode(body []byte) Code {
	c := cursor{b: body}
	m.From = c.u32()
	return c.end()
}

// Flags of a Spawn.
const (
	SpawnSlow   uint32 = 1 << iota // by abide-exec: an op may block for long
	SpawnCgroup                    // the second descriptor is the cgroup's folder
	spawnFlags  = 1<<iota - 1
)

// Spawn asks for a run. AckRun acknowledges the exit of that run first, whether
// the new one starts or not; 0 acknowledges none. Tags name the descriptors to
// hold for the run, in the order in which they follow program and cgroup; Pass
// descriptors after them are handed to the program and not kept.
type Spawn struct {
	Name   []byte
	Run    uint64
	AckRun uint64
	Flags  uint32
	Tags   [MaxHolds]uint32
	NTags  int
	Pass   uint32
}

// Append writes the whole message to an empty buffer.
func (m *Spawn) Append(b []byte, seq uint32) []byte {
	b = putName(Begin(b, TypeSpawn, seq), m.Name)
	b = put64(put64(b, m.Run), m.AckRun)
	b = put32(put32(put32(b, m.Flags), m.Pass), uint32(m.NTags))
	for i := 0; i < m.NTags; i++ {
		b = put32(b, m.Tags[i])
	}
	return End(b)
}

// Decode reads the body; Name points into it.
func (m *Spawn) Decode(body []byte) Code {
	c := cursor{b: body}
	m.Name = c.name()
	m.Run, m.AckRun = c.u64(), c.u64()
	m.Flags, m.Pass = c.u32(), c.u32()
	n := c.u32()
	if n > MaxHolds || m.Pass > MaxPass || m.Flags&^spawnFlags != 0 || m.Run == 0 {
		return CodeBody
	}
	m.NTags = int(n)
	for i := 0; i < m.NTags; i++ {
		m.Tags[i] = c.u32()
	}
	return goodNameAnd(m.Name, c.end())
}

// Descriptors is how many the message must come with.
func (m *Spawn) Descriptors() int {
	n := 1 + m.NTags + int(m.Pass)
	if m.Flags&SpawnCgroup != 0 {
		n++
	}
	return n
}

// Adopt makes a process that runs already a run of a service, by the rules of
// Spawn. Start is its field 22 of /proc/PID/stat. Flags are for later: 0.
type Adopt struct {
	Name  []byte
	Run   uint64
	Pid   uint32
	Start uint64
	Flags uint32
}

// Append writes the whole message to an empty buffer.
func (m *Adopt) Append(b []byte, seq uint32) []byte {
	b = put64(putName(Begin(b, TypeAdopt, seq), m.Name), m.Run)
	return End(put32(put64(put32(b, m.Pid), m.Start), m.Flags))
}

// Decode reads the body; Name points into it.
func (m *Adopt) Decode(body []byte) Code {
	c := cursor{b: body}
	m.Name = c.name()
	m.Run = c.u64()
	m.Pid, m.Start, m.Flags = c.u32(), c.u64(), c.u32()
	if m.Run == 0 || m.Pid == 0 || m.Pid > 1<<30 || m.Start == 0 || m.Flags != 0 {
		return CodeBody
	}
	return goodNameAnd(m.Name, c.end())
}

// Main says that another process is the main process of a run, which lives or whose
// exit is not acknowledged. Start is as in Adopt.
type Main struct {
	Name  []byte
	Run   uint64
	Pid   uint32
	Start uint64
}

// Append writes the whole message to an empty buffer.
func (m *Main) Append(b []byte, seq uint32) []byte {
	b = put64(putName(Begin(b, TypeMain, seq), m.Name), m.Run)
	return End(put64(put32(b, m.Pid), m.Start))
}

// Decode reads the body; Name points into it.
func (m *Main) Decode(body []byte) Code {
	c := cursor{b: body}
	m.Name = c.name()
	m.Run = c.u64()
	m.Pid, m.Start = c.u32(), c.u64()
	if m.Run == 0 || m.Pid == 0 || m.Pid > 1<<30 || m.Start == 0 {
		return CodeBody
	}
	return goodNameAnd(m.Name, c.end())
}

// ServiceRun names a run of a service: the body of ACK, FORGET and RELEASE.
type ServiceRun struct {
	Name []byte
	Run  uint64
}

// Append writes the whole message to an empty buffer.
func (m *ServiceRun) Append(b []byte, t Type, seq uint32) []byte {
	return End(put64(putName(Begin(b, t, seq), m.Name), m.Run))
}

// Decode reads the body; Name points into it.
func (m *ServiceRun) Decode(body []byte) Code {
	c := cursor{b: body}
	m.Name = c.name()
	m.Run = c.u64()
	return goodNameAnd(m.Name, c.end())
}

// Whom a Signal reaches.
const (
	ToMain    uint32 = iota // the main process
	ToGroup                 // the process group of the main process
	ToSession               // the process group of its session's leader
)

// Signal asks for a signal to a live run.
type Signal struct {
	Name  []byte
	Run   uint64
	Signo uint32
	To    uint32
}

// Append writes the whole message to an empty buffer.
func (m *Signal) Append(b []byte, seq uint32) []byte {
	b = put64(putName(Begin(b, TypeSignal, seq), m.Name), m.Run)
	return End(put32(put32(b, m.Signo), m.To))
}

// Decode reads the body; Name points into it.
func (m *Signal) Decode(body []byte) Code {
	c := cursor{b: body}
	m.Name = c.name()
	m.Run = c.u64()
	m.Signo, m.To = c.u32(), c.u32()
	if m.Signo > 64 || m.To > ToSession {
		return CodeSignal
	}
	return goodNameAnd(m.Name, c.end())
}

// SignalOnce is a Signal with a name, Once, that is not 0: a repeat of the last
// one sent to the service is answered as if it were sent, and sends nothing.
type SignalOnce struct {
	Signal
	Once uint64
}

// Append writes the whole message to an empty buffer.
func (m *SignalOnce) Append(b []byte, seq uint32) []byte {
	b = put64(putName(Begin(b, TypeSignalOnce, seq), m.Name), m.Run)
	return End(put64(put32(put32(b, m.Signo), m.To), m.Once))
}

// Decode reads the body; Name points into it.
func (m *SignalOnce) Decode(body []byte) Code {
	c := cursor{b: body}
	m.Name = c.name()
	m.Run = c.u64()
	m.Signo, m.To = c.u32(), c.u32()
	m.Once = c.u64()
	if m.Signo > 64 || m.To > ToSession {
		return CodeSignal
	}
	if m.Once == 0 {
		return CodeBody
	}
	return goodNameAnd(m.Name, c.end())
}

// Held names a descriptor that the keeper holds for a run; Run 0 means for the
// service, whatever runs. It is the body of KEEP, TAKE, DROP and FD.
type Held struct {
	Name []byte
	Run  uint64
	Tag  uint32
}

// Append writes the whole message to an empty buffer.
func (m *Held) Append(b []byte, t Type, seq uint32) []byte {
	return End(put32(put64(putName(Begin(b, t, seq), m.Name), m.Run), m.Tag))
}

// Decode reads the body; Name points into it.
func (m *Held) Decode(body []byte) Code {
	c := cursor{b: body}
	m.Name = c.name()
	m.Run = c.u64()
	m.Tag = c.u32()
	return goodNameAnd(m.Name, c.end())
}

// What Exit does after the keeper's end.
const (
	ActionExit     uint32 = iota // exit with Code
	ActionPoweroff               // these three only as process 1 of the machine
	ActionReboot
	ActionHalt
)

// Exit ends the keeper.
type Exit struct {
	Code   uint32
	Action uint32
}

// Append writes the whole message to an empty buffer.
func (m *Exit) Append(b []byte, seq uint32) []byte {
	return End(put32(put32(Begin(b, TypeExit, seq), m.Code), m.Action))
}

// Decode reads the body.
func (m *Exit) Decode(body []byte) Code {
	c := cursor{b: body}
	m.Code, m.Action = c.u32(), c.u32()
	if m.Code > 255 || m.Action > ActionHalt {
		return CodeBody
	}
	return c.end()
}

// UpgradeInCharge in Upgrade says that the engine of an upgrade is in charge: the
// keeper lets go of the program before it, and answers how the upgrade went.
const UpgradeInCharge uint32 = 1

// Upgrade asks the keeper to become another program file, to start the next engine
// from Engine, and to use Exec as abide-exec from then on. An empty Exec leaves
// that as it is.
type Upgrade struct {
	Flags  uint32
	Keeper []byte
	Engine []byte
	Exec   []byte
}

// Append writes the whole message to an empty buffer.
func (m *Upgrade) Append(b []byte, seq uint32) []byte {
	b = put32(Begin(b, TypeUpgrade, seq), m.Flags)
	return End(putText(putText(putText(b, m.Keeper), m.Engine), m.Exec))
}

// Decode reads the body; the paths point into it.
func (m *Upgrade) Decode(body []byte) Code {
	c := cursor{b: body}
	m.Flags = c.u32()
	m.Keeper, m.Engine, m.Exec = c.text(), c.text(), c.text()
	if code := c.end(); code != CodeNone {
		return code
	}
	confirms := m.Flags&UpgradeInCharge != 0
	if m.Flags&^UpgradeInCharge != 0 || confirms != (len(m.Keeper) == 0) || confirms != (len(m.Engine) == 0) {
		return CodeBody
	}
	for _, path := range [...][]byte{m.Keeper, m.Engine, m.Exec} {
		if !goodPath(path) {
			return CodeBody
		}
	}
	return CodeNone
}

// goodPath says whether a path is absolute and can be handed to execve. None is
// good as well.
func goodPath(path []byte) bool {
	if len(path) > MaxPath || len(path) > 0 && path[0] != '/' {
		return false
	}
	for _, c := range path {
		if c == 0 {
			return false
		}
	}
	return true
}
