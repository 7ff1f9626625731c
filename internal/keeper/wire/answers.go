package wire

// Flags of a Welcome.
const (
	PID1           uint32 = 1 << iota // the keeper is process 1 of its namespace
	Machine                           // and of the machine: it may power off
	Subreaper                         // orphans come to the keeper
	Adopted                           // runs of an earlier keeper live on
	RecordsSet                        // earlier records could not be used and were set aside
	RecordsDamaged                    // single records could not be used
	Unrecorded                        // there are no records: the run directory is not writable
	PidfdNamed                        // pidfd inodes name processes (Linux 6.9)
	OnTrial                           // an upgrade waits for this engine to say that it is in charge
	RecordsNew                        // there were no earlier records
)

// BuildSize is the room for the version of a program, as text.
const BuildSize = 64

// Welcome answers HELLO. Version is the one that both speak from now on; Build is
// there from version 2 on.
type Welcome struct {
	Version    uint32
	KeeperPid  uint32
	Boot       [36]byte // boot id as text
	ID         [16]byte // of the run directory: hex digits
	Rung       uint32   // of the spawner, as package vspawn counts them
	Flags      uint32
	NofileSoft uint64 // limits of open descriptors before the keeper raised them
	NofileHard uint64
	Slots      uint32 // capacity
	Used       uint32 // slots with a name
	Engines    uint32 // engines started by this keeper, this one included
	EnginePid  uint32
	Build      [BuildSize]byte // the keeper's version as text, padded with NUL
}

// Append writes the whole message to an empty buffer.
func (m *Welcome) Append(b []byte, seq uint32) []byte {
	b = put32(put32(Begin(b, TypeWelcome, seq), m.Version), m.KeeperPid)
	b = append(append(b, m.Boot[:]...), m.ID[:]...)
	b = put32(put32(b, m.Rung), m.Flags)
	b = put64(put64(b, m.NofileSoft), m.NofileHard)
	b = put32(put32(b, m.Slots), m.Used)
	b = put32(put32(b, m.Engines), m.EnginePid)
	if m.Version >= 2 {
		b = append(b, m.Build[:]...)
	}
	return End(b)
}

// Decode reads the body.
func (m *Welcome) Decode(body []byte) Code {
	c := cursor{b: body}
	m.Version, m.KeeperPid = c.u32(), c.u32()
	copy(m.Boot[:], c.take(len(m.Boot)))
	copy(m.ID[:], c.take(len(m.ID)))
	m.Rung, m.Flags = c.u32(), c.u32()
	m.NofileSoft, m.NofileHard = c.u64(), c.u64()
	m.Slots, m.Used = c.u32(), c.u32()
	m.Engines, m.EnginePid = c.u32(), c.u32()
	if m.Version >= 2 {
		copy(m.Build[:], c.take(len(m.Build)))
	}
	return c.end()
}

// Phase is what a slot holds.
type Phase uint32

// The phases, as they stand in the records too. Live covers a run whose start
// was interrupted by the death of a keeper and which was found alive.
const (
	Free Phase = iota
	Idle       // a service without a run; Run is the last number used
	Spawning
	Live
	Ended // its exit is not acknowledged
)

// Flags of an Exited.
const (
	StatusUnknown uint32 = 1 << iota // nobody could see the wait status
	NotStarted                       // the program never ran: the keeper died before it was recorded
	ExecFailed                       // abide-exec could not become the program: Op and Errno say why
	WasAdopted                       // not a child of this keeper
)

// Exited tells the end of a run. Status is the word of wait4(2). Times: Boot and
// Real are nanoseconds of CLOCK_BOOTTIME and CLOCK_REALTIME, User and System
// nanoseconds of processor time, MaxRSS is in KiB. Without StatusUnknown the
// processor times may still be 0: only a parent learns them.
type Exited struct {
	Name   []byte
	Run    uint64
	Pid    uint32
	Status uint32
	Flags  uint32
	Op     uint32
	Errno  uint32
	User   uint64
	System uint64
	MaxRSS uint64
	Boot   uint64
	Real   uint64
}

func (m *Exited) put(b []byte) []byte {
	b = put32(put32(b, m.Status), m.Flags)
	b = put32(put32(b, m.Op), m.Errno)
	b = put64(put64(put64(b, m.User), m.System), m.MaxRSS)
	return put64(put64(b, m.Boot), m.Real)
}

func (m *Exited) get(c *cursor) {
	m.Status, m.Flags = c.u32(), c.u32()
	m.Op, m.Errno = c.u32(), c.u32()
	m.User, m.System, m.MaxRSS = c.u64(), c.u64(), c.u64()
	m.Boot, m.Real = c.u64(), c.u64()
}

// Append writes the whole message to an empty buffer.
func (m *Exited) Append(b []byte) []byte {
	b = put64(putName(Begin(b, TypeExited, 0), m.Name), m.Run)
	return End(m.put(put32(b, m.Pid)))
}

// Decode reads the body; Name points into it.
func (m *Exited) Decode(body []byte) Code {
	c := cursor{b: body}
	m.Name = c.name()
	m.Run = c.u64()
	m.Pid = c.u32()
	m.get(&c)
	return goodNameAnd(m.Name, c.end())
}

// Record is one slot of an inventory. Start is in clock ticks since boot (field 22
// of /proc/PID/stat), Began in nanoseconds of CLOCK_BOOTTIME. Exit is valid in
// phase Ended.
type Record struct {
	Name  []byte
	Run   uint64
	Phase Phase
	Pid   uint32
	Start uint64
	Began uint64
	Exit  Exited
	Held  [MaxHeld]HeldTag
	NHeld int
}

// HeldTag is one descriptor in an inventory.
type HeldTag struct {
	Run uint64
	Tag uint32
}

// maxRecord is the most that one record adds to an inventory.
const maxRecord = 1 + MaxName + 8 + 4 + 4 + 8 + 8 + 56 + 4 + MaxHeld*12

// Inventory is written record by record: Begin with BeginInventory, AppendRecord
// while Room says so, then FinishInventory.
type Inventory struct {
	Next  uint32 // slot to ask for next; 0: this was the last part
	Count uint32
	body  cursor
}

// BeginInventory starts the message in an empty buffer.
func BeginInventory(b []byte, seq uint32) []byte {
	return put32(put32(Begin(b, TypeInventory, seq), 0), 0)
}

// Room says whether another record fits in for certain.
func Room(b []byte) bool { return len(b)+maxRecord <= MaxMessage }

// AppendRecord adds a record to a message begun by BeginInventory.
func AppendRecord(b []byte, r *Record) []byte {
	b = put64(putName(b, r.Name), r.Run)
	b = put32(put32(b, uint32(r.Phase)), r.Pid)
	b = r.Exit.put(put64(put64(b, r.Start), r.Began))
	b = put32(b, uint32(r.NHeld))
	for i := 0; i < r.NHeld; i++ {
		b = put32(put64(b, r.Held[i].Run), r.Held[i].Tag)
	}
	return b
}

// FinishInventory stores where to go on and how many records there are.
func FinishInventory(b []byte, next, count uint32) []byte {
	put32(b[HeaderSize:HeaderSize], next)
	put32(b[HeaderSize+4:HeaderSize+4], count)
	return End(b)
}

// Decode reads the head of the body; Record reads the records one by one.
func (m *Inventory) Decode(body []byte) Code {
	m.body = cursor{b: body}
	m.Next, m.Count = m.body.u32(), m.body.u32()
	if m.body.short || uint64(m.Count)*2 > uint64(len(body)) {
		return CodeBody
	}
	if m.Count == 0 {
		return m.body.end()
	}
	return CodeNone
}

// Record reads the next of Count records; its Name points into the body.
func (m *Inventory) Record(r *Record) Code {
	c := &m.body
	r.Name = c.name()
	r.Run = c.u64()
	r.Phase = Phase(c.u32())
	r.Pid = c.u32()
	r.Start, r.Began = c.u64(), c.u64()
	r.Exit.get(c)
	n := c.u32()
	if c.short || n > MaxHeld || r.Phase > Ended {
		return CodeBody
	}
	r.NHeld = int(n)
	for i := 0; i < r.NHeld; i++ {
		r.Held[i].Run = c.u64()
		r.Held[i].Tag = c.u32()
	}
	if c.short || !GoodName(r.Name) {
		return CodeBody
	}
	r.Exit.Name, r.Exit.Run, r.Exit.Pid = r.Name, r.Run, r.Pid
	m.Count--
	if m.Count == 0 {
		return c.end()
	}
	return CodeNone
}

// Spawned answers SPAWN and ADOPT: the process is a run of the service. Start and
// Began as in Record.
type Spawned struct {
	Name  []byte
	Run   uint64
	Pid   uint32
	Start uint64
	Began uint64
}

// Append writes the whole message to an empty buffer.
func (m *Spawned) Append(b []byte, seq uint32) []byte {
	b = put64(putName(Begin(b, TypeSpawned, seq), m.Name), m.Run)
	return End(put64(put64(put32(b, m.Pid), m.Start), m.Began))
}

// Decode reads the body; Name points into it.
func (m *Spawned) Decode(body []byte) Code {
	c := cursor{b: body}
	m.Name = c.name()
	m.Run = c.u64()
	m.Pid = c.u32()
	m.Start, m.Began = c.u64(), c.u64()
	return goodNameAnd(m.Name, c.end())
}

// NoOp in Refused means that no operation of the program was reached: the clone
// itself, or something before it, failed.
const NoOp = -1

// Refused answers SPAWN and ADOPT: nothing runs, or the process is no run of the
// service. Op is the index of the operation that failed, or negative as package
// vspawn counts what comes before the first. Burned is 1 when the run number is
// used up all the same.
type Refused struct {
	Name   []byte
	Run    uint64
	Code   Code
	Op     int32
	Errno  uint32
	Burned uint32
}

// Append writes the whole message to an empty buffer.
func (m *Refused) Append(b []byte, seq uint32) []byte {
	b = put64(putName(Begin(b, TypeRefused, seq), m.Name), m.Run)
	return End(put32(put32(put32(put32(b, uint32(m.Code)), uint32(m.Op)), m.Errno), m.Burned))
}

// Decode reads the body; Name points into it.
func (m *Refused) Decode(body []byte) Code {
	c := cursor{b: body}
	m.Name = c.name()
	m.Run = c.u64()
	m.Code = Code(c.u32())
	m.Op = int32(c.u32())
	m.Errno, m.Burned = c.u32(), c.u32()
	return goodNameAnd(m.Name, c.end())
}

// Signaled tells that the keeper itself got a signal. Count is how many of this
// kind came since the keeper started; an engine that answers HANDLED with it is
// not told again, and neither is the next engine.
type Signaled struct {
	Signo uint32
	Count uint32
}

// Append writes the whole message to an empty buffer.
func (m *Signaled) Append(b []byte, t Type, seq uint32) []byte {
	return End(put32(put32(Begin(b, t, seq), m.Signo), m.Count))
}

// Decode reads the body.
func (m *Signaled) Decode(body []byte) Code {
	c := cursor{b: body}
	m.Signo, m.Count = c.u32(), c.u32()
	if m.Signo == 0 || m.Signo > 64 {
		return CodeSignal
	}
	return c.end()
}

// Failure is the body of ERROR.
type Failure struct {
	Code  Code
	Errno uint32
}

// Append writes the whole message to an empty buffer.
func (m *Failure) Append(b []byte, seq uint32) []byte {
	return End(put32(put32(Begin(b, TypeError, seq), uint32(m.Code)), m.Errno))
}

// Decode reads the body.
func (m *Failure) Decode(body []byte) Code {
	c := cursor{b: body}
	m.Code, m.Errno = Code(c.u32()), c.u32()
	return c.end()
}

// Stats are the keeper's counters since it started. Mallocs and Collections are
// those of its Go heap: a keeper at work adds to neither.
type Stats struct {
	Spawns      uint64
	Refusals    uint64
	Exits       uint64
	Orphans     uint64
	Wrong       uint64 // messages answered by ERROR because they were malformed
	Engines     uint64
	Held        uint64
	Live        uint64
	Mallocs     uint64
	Collections uint64
	Dropped     uint64 // lines that could not be written to stderr
}

func (m *Stats) fields() [11]*uint64 {
	return [...]*uint64{&m.Spawns, &m.Refusals, &m.Exits, &m.Orphans, &m.Wrong, &m.Engines,
		&m.Held, &m.Live, &m.Mallocs, &m.Collections, &m.Dropped}
}

// Append writes the whole message to an empty buffer.
func (m *Stats) Append(b []byte, seq uint32) []byte {
	b = Begin(b, TypeStats, seq)
	for _, f := range m.fields() {
		b = put64(b, *f)
	}
	return End(b)
}

// Decode reads the body.
func (m *Stats) Decode(body []byte) Code {
	c := cursor{b: body}
	for _, f := range m.fields() {
		*f = c.u64()
	}
	return c.end()
}

// UpgradeResult says how an upgrade went.
type UpgradeResult uint32

// The results. Status is a word of wait4(2), Errno an error of a system call.
const (
	UpgradeDone         UpgradeResult = iota
	UpgradeBusy                       // another one is under way
	UpgradeEnding                     // the keeper is on its way out
	UpgradeUnprepared                 // the state could not be handed over: Errno
	UpgradeUnproven                   // the new keeper ended in its proof: Status
	UpgradeSlow                       // it did not end its proof in time
	UpgradeDiffers                    // it read other records than there are
	UpgradeExec                       // it could not be executed: Errno
	UpgradeResume                     // it could not take over and went back: Errno
	UpgradeEngineDied                 // the new engine died before it was in charge: Status
	UpgradeEngineSilent               // the new engine was not in charge in time
	UpgradeEngineExec                 // the new engine could not be executed: Errno
	UpgradeNone                       // there is none to tell of
	lastUpgradeResult
)

// Upgraded answers UPGRADE. UPGRADE is answered by the keeper that goes on: the new
// one if Result is UpgradeDone.
type Upgraded struct {
	Result UpgradeResult
	Status uint32
	Errno  uint32
}

// Append writes the whole message to an empty buffer.
func (m *Upgraded) Append(b []byte, seq uint32) []byte {
	return End(put32(put32(put32(Begin(b, TypeUpgraded, seq), uint32(m.Result)), m.Status), m.Errno))
}

// Decode reads the body.
func (m *Upgraded) Decode(body []byte) Code {
	c := cursor{b: body}
	m.Result = UpgradeResult(c.u32())
	m.Status, m.Errno = c.u32(), c.u32()
	if m.Result >= lastUpgradeResult {
		return CodeBody
	}
	return c.end()
}
