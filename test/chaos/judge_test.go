//go:build linux

package chaos

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/abide-project/abide/test/internal/harness"
)

// life is a run as its program noted it; what it did not note is 0. Times are in
// nanoseconds of the wall clock.
type life struct {
	run, pid                       int
	born, noted, ready, told, died int64
	how                            string // "" if it noted no end
}

// lives returns the runs of a service in order.
func (r *round) lives(name string) []*life {
	r.t.Helper()
	var list []*life
	byRun := map[string]*life{}
	number := func(word string) int64 {
		n, err := strconv.ParseInt(word, 10, 64)
		harness.Check(r.t, err)
		return n
	}
	for text := range strings.Lines(r.file("starts", name)) {
		words := strings.Fields(text)
		l := &life{run: int(number(words[0])), pid: int(number(words[1])), noted: number(words[2]), born: number(words[3])}
		list, byRun[words[0]] = append(list, l), l
	}
	for _, kind := range []string{"ready", "told", "ends"} {
		for text := range strings.Lines(r.file(kind, name)) {
			words := strings.Fields(text)
			l, at := byRun[words[0]], number(words[len(words)-1])
			switch kind {
			case "ready":
				l.ready = at
			case "told":
				l.told = at
			case "ends":
				l.how, l.died = words[1], at
			}
		}
	}
	return list
}

// lastRun is the number of the run that began last, 0 before the first.
func (r *round) lastRun(name string) int {
	if list := r.lives(name); len(list) > 0 {
		return list[len(list)-1].run
	}
	return 0
}

// slack bounds what nobody can order: a need that ends when the order to start its
// follower is on its way through engine, keeper and kernel, which this test freezes
// meanwhile.
const slack = int64(200 * time.Millisecond)

// seen is when the end of a run was seen at the latest: when it happened or, if no
// keeper was in charge then, when one was again.
func (r *round) seen(at int64) int64 {
	for _, s := range r.blind {
		if at >= s.from-slack && at <= s.to {
			return s.to
		}
	}
	return at
}

// there tells whether a need was there for a program born at a moment and noted at
// a later one, and when its last run had ended if it was not. What is to
// finish is there from its end to its next start.
func there(need []*life, task bool, born, noted int64) (ok bool, ended int64) {
	for i, l := range need {
		from, to := l.ready, l.died
		if l.told != 0 {
			to = l.told
		}
		if task {
			from, to = 0, 0
			if l.how == "0" {
				from = l.died
			}
			if i+1 < len(need) {
				to = need[i+1].born
			}
		}
		if from == 0 || from > noted {
			continue
		}
		// One that noted no end was killed by order; the next one then began later.
		if to == 0 && i+1 < len(need) {
			to = need[i+1].born
		}
		if to == 0 || born <= to {
			return true, to
		}
		ended = to
	}
	return false, ended
}

// inOrder checks that nobody began while what it requires was not there, and counts
// those that began so shortly after its end that the order may have crossed it.
func (r *round) inOrder() (starts, crossed int) {
	r.t.Helper()
	for _, p := range pairs {
		need := r.lives(p.needs)
		for _, l := range r.lives(p.name) {
			starts++
			switch ok, ended := there(need, p.needs == "prep", l.born, l.noted); {
			case ok:
			case ended != 0 && l.born <= r.seen(ended)+slack:
				crossed++
			default:
				r.t.Errorf("run %d of %s began at %s, when %s was not there: its last end was %s before\n%s", l.run, p.name,
					time.Unix(0, l.born).UTC().Format("15:04:05.000"), p.needs, time.Duration(l.born-ended), r.story(p.name)+r.story(p.needs))
			}
		}
	}
	return starts, crossed
}

// inReverse checks that what a chain needs was told to end when nothing above it
// lived any more.
func (r *round) inReverse() {
	r.t.Helper()
	for _, p := range pairs {
		if p.needs != "base" && p.needs != "middle" {
			continue
		}
		for _, need := range r.lives(p.needs) {
			for _, l := range r.lives(p.name) {
				if need.told != 0 && l.died != 0 && l.noted < need.told && l.died > need.told {
					r.t.Errorf("run %d of %s was told to end %s before run %d of %s, which needs it, had ended", need.run, p.needs,
						time.Duration(l.died-need.told), l.run, p.name)
				}
			}
		}
	}
}

// followed checks that each fault of a leader ended its follower, and nothing else
// did. An end that nobody could see may count as either.
func (r *round) followed() (followed int) {
	r.t.Helper()
	// A keeper or an engine that is frozen is replaced after ten seconds at most; until
	// then nobody is told anything.
	const patience = int64(12 * time.Second)
	for leader, follower := range leaders {
		runs := r.lives(leader)
		for _, f := range r.lives(follower) {
			if f.told == 0 || f.told < r.from || f.told > r.ended {
				continue // it was ended before it could note that, or lives, or all were stopped
			}
			fault := false
			for i, l := range runs {
				unseen := l.died != 0 && (within(r.blind, l.died) || across(r.blind, l.born-startSlack, l.died))
				if l.ready == 0 || l.died == 0 || l.died < f.born-slack || l.died > f.told || l.how == "0" && !unseen {
					continue
				}
				fault = true
				if l.how == "0" || f.noted > l.died || f.noted < l.ready || i+2 >= len(runs) || runs[i+1].ready == 0 || runs[i+1].died == 0 {
					continue
				}
				if next := runs[i+1]; f.told > next.died && f.told > next.ready+patience {
					r.t.Errorf("run %d of %s went on for %s after the fault of run %d of %s", f.run, follower, time.Duration(f.told-l.died), l.run, leader)
				}
			}
			if fault {
				followed++
			} else {
				r.t.Errorf("run %d of %s was told to end at %s, with no fault of %s since its start\n%s", f.run, follower,
					time.Unix(0, f.told).UTC().Format("15:04:05.000"), leader, r.story(follower)+r.story(leader))
			}
		}
	}
	return followed
}

// alwaysThere checks that a rolled service was there all the time: each run that was
// told to end left another that was ready, and never were there more than two.
func (r *round) alwaysThere() (rolls int) {
	r.t.Helper()
	runs := r.lives("rolled")
	for _, l := range runs {
		ready, beside := 0, 0
		for _, o := range runs {
			if o != l && o.ready != 0 && o.ready < l.told && (o.told == 0 || o.told > l.told) {
				ready++
			}
			if o.noted < l.noted && o.died > l.noted {
				beside++
			}
		}
		if beside > 1 {
			r.t.Errorf("run %d of rolled began when %d others lived", l.run, beside)
		}
		if l.told == 0 || l.told >= r.ended || l.told < r.from {
			continue
		}
		if ready == 0 {
			r.t.Errorf("run %d of rolled was told to end, and no other was ready\n%s", l.run, r.story("rolled"))
		}
		rolls++
	}
	return rolls
}

// hooksRan checks the commands of services: each ran before every start and once
// after every end. A command whose keeper died while it was being started is not
// started again, because nobody can tell whether it was: where abide says so, and a
// keeper died, it may be missing.
func (r *round) hooksRan(names ...string) (before, after, excused int) {
	r.t.Helper()
	for _, name := range names {
		at := r.hookTimes(name)
		runs, story := r.lives(name), ""
		for i, l := range runs {
			first, last := at[fmt.Sprintf("before_start %d", l.run)], at[fmt.Sprintf("after_stop %d", l.run)]
			before, after = before+len(first), after+len(last)
			if len(first) == 0 || first[0] > l.noted {
				r.t.Errorf("run %d of %s began without its before_start\n%s", l.run, name, r.story(name))
			}
			if len(last) > 0 && (l.died == 0 || last[0] >= l.died) {
				continue
			}
			if story == "" {
				story = r.story(name)
			}
			if len(last) == 0 && i+1 < len(runs) && across(r.blind, l.noted, runs[i+1].noted) && untold(story, name, l.run) {
				excused++
				continue
			}
			r.t.Errorf("run %d of %s ended without its after_stop\n%s", l.run, name, story)
		}
	}
	return before, after, excused
}

// hookTimes returns when the commands of a service ran, by kind and run, and checks
// that each ran once.
func (r *round) hookTimes(name string) map[string][]int64 {
	r.t.Helper()
	at := map[string][]int64{}
	for text := range strings.Lines(r.file("hooks", name)) {
		words := strings.Fields(text)
		when, err := strconv.ParseInt(words[2], 10, 64)
		harness.Check(r.t, err)
		key := words[1] + " " + words[0]
		if at[key] = append(at[key], when); len(at[key]) > 1 {
			r.t.Errorf("%s of run %s of %s ran twice", words[1], words[0], name)
		}
	}
	return at
}

// untold tells whether abide says that it cannot tell what became of the command after
// a run.
func untold(story, name string, run int) bool {
	for text := range strings.Lines(story) {
		if strings.Contains(text, fmt.Sprintf("%s[%d] hook: after_stop", name, run)) {
			return strings.Contains(text, "not seen")
		}
	}
	return false
}

// alarmed checks that each fault was told once.
func (r *round) alarmed() (told int) {
	r.t.Helper()
	for n := range r.failed {
		name := faulty(n)
		if len(r.starts(name)) == 0 {
			continue // the order was lost with abide
		}
		harness.Eventually(r.t, "the fault of "+name+" is told", func() error {
			if lines := strings.Count(r.file("alarms", name), "\n"); lines == 0 {
				return fmt.Errorf("it is not: %s", r.Status(name).State)
			}
			return nil
		})
		if text := r.file("alarms", name); strings.Count(text, "\n") != 1 || !strings.HasSuffix(text, " 1\n") {
			r.t.Errorf("the one fault of %s is told as\n%s", name, text)
		}
		told++
	}
	return told
}
