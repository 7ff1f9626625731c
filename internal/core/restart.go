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
		m.spawn()
		return
	}
	phase, cause := m.verdict()
	if phase != Delaying {
		m.rest(phase, cause)
		return
	}
	lived := time.Duration(s.Ended - s.Began)
	if s.WasReady && lived >= m.cfg.Backoff.ResetAfter {
		s.Level = 0
	}
	if s.WasReady && lived >= m.cfg.Backoff.Healthy {
		m.again(s.Ended, CauseNone)
	} else {
		m.again(s.Ended, CauseBackoff)
	}
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
	case s.Cause == CauseReady:
		return Failed, CauseReady
	case cfg.Task:
		return Failed, CauseTask
	}
	return Failed, CauseEnded
}

// spawnFailed takes a start that came to nothing. One that was to be tried once
// is not tried again; any other may heal by itself, as a program does that is
// missing while its package is upgraded.
func (m *machine) spawnFailed(ev *Event) {
	s := m.s
	switch {
	case ev.Unsure:
		m.rest(Failed, CauseUnsure)
	case !s.Wanted:
		m.rest(Down, CauseNone)
	case s.PendingRestart:
		m.spawn()
	case ev.Permanent || m.once():
		m.rest(Failed, CauseSpawn)
	default:
		m.again(m.now, CauseSpawn)
	}
}

// again starts by itself, counted from when the last run ended: after the delay
// that the configuration asks for, and after back-off unless cause is CauseNone.
func (m *machine) again(ended Time, cause Cause) {
	s, cfg := m.s, m.cfg
	if !s.window.spend(&cfg.Limit, m.now) {
		m.rest(Failed, CauseLimit)
		if cfg.Limit.RetryAfter > 0 {
			s.Deadline = m.after(cfg.Limit.RetryAfter)
		}
		return
	}
	wait := max(cfg.Delay, 0)
	if cause == CauseNone {
		cause = CauseRestartWait
	} else {
		wait = time.Duration(later(Time(wait), cfg.Backoff.delay(s.Level, m.rand)))
		if s.Level < math.MaxUint8 && cfg.Backoff.base(s.Level+1) > cfg.Backoff.base(s.Level) {
			s.Level++
		}
	}
	at := later(ended, wait)
	m.rest(Delaying, cause)
	s.Deadline = at
	if at <= m.now {
		m.spawnAgain()
	}
}

// once reports whether a start is tried one time only.
func (m *machine) once() bool { return m.s.Once || m.cfg.When == Never }

// delayed starts after a delay, unless the rule for that has changed meanwhile.
func (m *machine) delayed() {
	s := m.s
	phase, cause := m.verdict()
	if s.Cause == CauseSpawn {
		phase, cause = Delaying, CauseNone
		if m.once() {
			phase, cause = Failed, CauseSpawn
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
