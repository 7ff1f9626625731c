package sim

// Mutant is a deliberate bug: one text of one file replaced by another. The
// simulation must find each, or its checks are worth nothing.
type Mutant struct {
	Name, File, Old, New string
}

// Mutants are bugs that somebody could make. Each was a line of code or a condition
// that somebody could think needless.
var Mutants = []Mutant{
	{
		"an exit is not told", "internal/keeper/exits_linux.go",
		"	k.queueExit(s)\n}", "}",
	},
	{
		"any process with the pid is the one of the record", "internal/keeper/adopt_linux.go",
		"	if !same {", "	same = true\n	if !same {",
	},
	{
		"the status of an adopted run is not looked at", "internal/keeper/exits_linux.go",
		"		facts.status = status\n", "		facts.status = status & 0\n",
	},
	{
		"exits of listed slots are not news", "internal/keeper/requests_linux.go",
		"	k.engine.listed = max(k.engine.listed, s)\n", "",
	},
	{
		"dropping leaves the descriptor open", "internal/keeper/table_linux.go",
		"		raw.Close(int(h.fd))\n", "",
	},
	{
		"a slot stays in the queue of the engine before", "internal/keeper/loop_linux.go",
		"		k.table.private[s].state &^= stQueued\n", "		_ = s\n",
	},
	{
		"the pidfd of an ended run stays open", "internal/keeper/exits_linux.go",
		"		raw.Close(int(p.pidfd)) // which takes it out of epoll as well\n", "",
	},
	{
		"a signal is sent again", "internal/keeper/requests_linux.go",
		"	if *last != m.Once {", "	if *last != m.Once || true {",
	},
	{
		"an exit of which nobody tells the status is waited for", "internal/keeper/exits_linux.go",
		"			k.dueIn(s, fadeTime)\n", "",
	},
	{
		"nothing is held for a run", "internal/keeper/spawn_linux.go",
		"		k.keep(s, m.Run, m.Tags[i], fd)\n", "		_, _ = i, fd\n		raw.Close(fd)\n",
	},
	{
		"an answer that did not fit is forgotten", "internal/keeper/loop_linux.go",
		"	if k.waiting && events&(syscall.EPOLLOUT|syscall.EPOLLHUP|syscall.EPOLLERR) != 0 {\n		k.retryAnswer()\n",
		"	if k.waiting && events&(syscall.EPOLLOUT|syscall.EPOLLHUP|syscall.EPOLLERR) != 0 {\n		k.waiting = false\n",
	},
	{
		"the page is not written", "internal/engine/engine.go",
		"	e.persist(s)\n	e.mirror(s)\n	if e.explain(s, old, ev, &acts) {\n		e.persist(s) // the page leads to that event\n	}\n",
		"	e.mirror(s)\n	e.explain(s, old, ev, &acts)\n",
	},
	{
		"an exit is not acknowledged when nothing follows it", "internal/engine/service.go",
		"		_ = e.ports.Keeper.Ack(s.slot, s.info.Last.Run)\n", "",
	},
	{
		"leftovers are not looked for", "internal/engine/cleaning.go",
		"	if group == nil || group.Empty() {", "	if group == nil || true {",
	},
	{
		"pipes of ended runs stay with the keeper", "internal/engine/adopt.go",
		"		e.noteHeld(r)\n", "",
	},
	{
		"a service without a definition is forgotten", "internal/engine/slots.go",
		"		e.setAside(r)\n", "",
	},
	{
		"abide-exec's failure is not the end of a run", "internal/engine/exits.go",
		"		if s.st.Live() {\n			// It has", "		if false {\n			// It has",
	},
	{
		"a deadline is not armed", "internal/engine/time.go",
		"		heap.Push(&e.due, s)\n", "		_ = heap.Push\n",
	},
	{
		"a stop is answered and not done", "internal/engine/operate.go",
		"		e.bringDown(s, endStop)\n", "		_ = endStop\n",
	},
	{
		"without records nothing lives", "internal/engine/adopt.go",
		"		return fmt.Errorf(\"cannot read the keeper's records: %w\", err)\n", "		records = nil\n",
	},
	{
		"the next run does not wait for the clean-up", "internal/core/stop.go",
		"	m.do(Action{Kind: ActClean, Grace: s.Deadline != 0})\n", "	m.settle()\n",
	},
	{
		"a run number is used again", "internal/core/step.go",
		"m.renew(s.Run+uint64(s.Skip)+1, Spawning)", "m.renew(max(s.Run, 1), Spawning)",
	},
	{
		"a hook is run twice", "internal/engine/aux.go",
		"	case a.run >= c.number:\n", "	case false:\n",
	},
	{
		"a hook's end is not acknowledged", "internal/engine/aux.go",
		"			_ = e.ports.Keeper.Ack(a.slot, run)\n", "",
	},
	{
		"what is put off while work that was put off is done is lost", "internal/engine/service.go",
		"	for i := 0; i < len(e.tidying); i++ {", "	for i := range len(e.tidying) {",
	},
	{
		"a hook that failed changes nothing", "internal/engine/hooks.go",
		"Hook: h.kind, OK: ok})", "Hook: h.kind, OK: ok || true})",
	},
	{
		"what needs a service is not ended with it", "internal/engine/graph.go",
		"		e.orderEvent(s, core.Event{Kind: core.EvHold, Must: true})\n", "		e.orderEvent(s, core.Event{Kind: core.EvHold})\n",
	},
	{
		"the old half of a roll is not ended", "internal/engine/roll.go",
		"	e.feedPart(s, core.Event{Kind: core.EvStop}, 0)\n}", "}",
	},
	{
		"a roll goes on while what the service needs goes", "internal/engine/roll.go",
		"	case core.EvRedefined, core.EvHold:\n", "	case core.EvRedefined:\n",
	},
	{
		"the number of a roll that failed is given out again", "internal/core/step.go",
		"			s.Skip = max(s.Skip, uint16(min(ev.Run-s.Run, math.MaxUint16)))\n", "			_ = math.MaxUint16\n",
	},
	{
		"a half of a roll is held as if the graph knew it", "internal/engine/adopt.go",
		"s.adopted && s.info.Roll == rollNone && (ended", "s.adopted && (ended",
	},
	{
		"a lost run is left as it is", "internal/core/adopt.go",
		"		m.exited(Unknown, m.now)\n", "		_ = m.exited\n",
	},
}
