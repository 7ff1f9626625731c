package core

import (
	"math"
	"time"
)

// settle decides what follows a run of which nothing is left.
func (m *machine) settle() {
	s := m.s
	switch {
	case !s.Wanted:
		m.rest(Down, CauseNone)
		return
	case s.PendingRestart:
		m.spawnAsked()
		return
	case s.Void:
		m.startFailed()
		return
	}
	m.tally(s.WasReady && !m.cfg.Task || m.cfg.Task && s.End == Success)
	phase, cause := m.verdict()
	if phase != Delaying {
		m.rest(phase, cause)
		return
	}
	lived := time.Duration(s.Ended - s.Began)
	if s.WasReady && lived >= m.cfg.Backoff.ResetAfter {
		s.Level = 0
	}
	if s.WasReady && lived >= m.cfg.Backoff.Healthy && !s.Cause.isFailure() {
		m.again(CauseNone)
	} else {
		m.again(CauseBackoff)
	}
}

// tally counts the failed runs in a row.
func (m *machine) tally(well bool) {
	s := m.s
	switch {
	case well:
		s.InRow = 0
	case s.InRow < math.MaxUint8:
		s.InRow++
	}
}

// isFailure reports whether a run that is stopped for this has failed.
func (c Cause) isFailure() bool {
	switch c {
	case CauseReady, CauseHook, CauseHealth, CauseWatchdog, CauseNoMain:
		return true
	}
	return false
}

// verdict says whether the run that just ended, wanted as it was, is followed by
// another (Delaying) and, if not, where that leaves the service.
func (m *machine) verdict() (Phase, Cause) {
	s, cfg := m.s, m.cfg
	switch {
	case s.End == GiveUp:
		return Failed, CauseGiveUpCode
	case cfg.Task && s.End == Success:
		return Finished, CauseNone
	case cfg.Task && s.End == Unknown:
		return Failed, CauseTask
	case !s.Once && cfg.When.restarts(s.End):
		return Delaying, CauseNone
	case s.End == Success:
		return Finished, CauseNone
	case s.Cause.isFailure():
		return Failed, s.Cause
	case cfg.Task:
		return Failed, CauseTask
	}
	return Failed, CauseEnded
}

// spawnFailed takes a refusal of ActSpawn.
func (m *machine) spawnFailed(ev *Event) {
	if ev.Unsure {
		m.rest(Failed, CauseUnsure)
		return
	}
	m.failStart(CauseSpawn, ev.Permanent)
}

// startFailed decides what follows a start that came to nothing. One that was to be
// tried once is not tried again; any other may heal by itself, as a program does
// that is missing while its package is upgraded.
func (m *machine) startFailed() {
	s := m.s
	if s.Cause == CauseNone {
		m.spawn()
		return
	}
	m.tally(false)
	if s.Final || m.once() {
		m.rest(Failed, s.Cause)
		return
	}
	m.again(s.Cause)
}

// giveUp meets the limit.
func (m *machine) giveUp() {
	m.rest(Failed, CauseLimit)
	if after := m.cfg.Limit.RetryAfter; after > 0 {
		m.s.Deadline = m.after(after)
	}
}

// again starts by itself, counted from when the last run ended: after the delay
// that the configuration asks for, and after back-off unless cause is CauseNone.
func (m *machine) again(cause Cause) {
	s, cfg := m.s, m.cfg
	if cfg.Limit.InRow > 0 && s.InRow >= cfg.Limit.InRow || !s.window.spend(&cfg.Limit, m.now) {
		m.giveUp()
		return
	}
	wait := max(cfg.Delay, 0)
	switch {
	case cfg.Short.Under > 0:
		if m.short() {
			wait = max(wait, cfg.Short.Delay)
		} else if cause == CauseBackoff {
			cause = CauseRestartWait
		}
		if s.Void {
			wait = max(wait, shortWait)
		}
	case cause != CauseNone:
		wait = time.Duration(later(Time(wait), cfg.Backoff.delay(s.Level, m.rand)))
		if s.Level < math.MaxUint8 && cfg.Backoff.base(s.Level+1) > cfg.Backoff.base(s.Level) {
			s.Level++
		}
	}
	if cause == CauseNone {
		cause = CauseRestartWait
	}
	at := later(s.Ended, wait)
	if cfg.Spacing > 0 {
		at = max(at, later(s.Began, cfg.Spacing))
	}
	m.rest(Delaying, cause)
	s.Deadline = at
	if at <= m.now {
		m.spawnAgain()
	}
}

// justSlept stands in State.Shorts for a delay that counts as life of the next run.
const justSlept = math.MaxUint8

// short reports whether the run that ended was one too many of the short ones.
func (m *machine) short() bool {
	s, rule := m.s, &m.cfg.Short
	switch {
	case time.Duration(s.Ended-s.Began) >= rule.Under, s.Shorts == justSlept:
		s.Shorts = 0
		return false
	case s.Shorts < rule.After:
		s.Shorts++
		return false
	}
	s.Shorts = 0
	if rule.Counted {
		s.Shorts = justSlept
	}
	return true
}

// once reports whether a start is tried one time only.
func (m *machine) once() bool { return m.s.Once || m.cfg.When == Never }

// delayed starts after a delay, unless the rule for that has changed meanwhile.
func (m *machine) delayed() {
	s := m.s
	phase, cause := m.verdict()
	if s.Cause == CauseSpawn || s.Cause == CauseHook {
		phase, cause = Delaying, CauseNone
		if m.once() {
			phase, cause = Failed, s.Cause
		}
	}
	if phase == Delaying {
		m.spawnAgain()
	} else {
		m.rest(phase, cause)
	}
}

// cap is the longest delay.
func (b *Backoff) cap() time.Duration { return max(b.Max, b.First, shortWait) }

// base is the delay of a level before jitter.
func (b *Backoff) base(level uint8) time.Duration {
	top := float64(b.cap())
	d := float64(max(b.First, shortWait))
	for ; level > 0 && b.Factor > 1 && d < top; level-- {
		d *= b.Factor
	}
	if d >= top {
		return b.cap()
	}
	return time.Duration(d)
}

// delay spreads base evenly over [base*(1-jitter), base*(1+jitter)], cut off at
// the longest delay.
func (b *Backoff) delay(level uint8, rand uint32) time.Duration {
	base := b.base(level)
	if !(b.Jitter > 0) {
		return base
	}
	spread := float64(base) * min(b.Jitter, 1)
	low := float64(base) - spread
	high := min(float64(base)+spread, float64(b.cap()))
	d := low + (high-low)*(float64(rand)/math.MaxUint32)
	return max(time.Duration(d), shortWait)
}
