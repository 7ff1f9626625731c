package main

import (
	"fmt"
	"os/exec"
	"time"
)

// idleAndStatus runs every supervisor with all its services at the same time,
// leaves them alone, and looks at what they cost; then it asks for states.
func (b *bench) idleAndStatus() {
	var running []*instance
	for _, i := range b.instances(b.services) {
		defer i.remove()
		if _, err := i.start(); err != nil {
			b.report.fault("%v", err)
			i.end()
			continue
		}
		running = append(running, i)
	}
	for _, i := range running {
		i.settle()
	}
	// What a runtime does once after it was busy is not idling.
	time.Sleep(min(b.idle, 15*time.Second))

	many := fmt.Sprintf("%d idle services", b.services)
	woken := b.report.measure("wake-ups a minute, "+many, "of all threads", "<= 4")
	woken.Single = true
	own, before := make([][]int, len(running)), make([]int64, len(running))
	for at, i := range running {
		own[at] = i.own()
		before[at] = wakeups(own[at])
	}
	begin := time.Now()
	time.Sleep(b.idle)
	for at, i := range running {
		woken.add(i.kind.name, float64(wakeups(own[at])-before[at])/time.Since(begin).Minutes())
	}

	memory := b.report.measure("memory, "+many+", proportional set size", "MB", "<= 12")
	threads := b.report.measure("threads, "+many, "", "")
	processes := b.report.measure("processes, "+many, "", "")
	memory.Single, threads.Single, processes.Single = true, true, true
	for at, i := range running {
		memory.add(i.kind.name, float64(pss(own[at]))/1e6)
		threads.add(i.kind.name, float64(count(own[at], "task")))
		processes.add(i.kind.name, float64(len(own[at])))
	}
	b.status(running)
	for _, i := range running {
		if _, err := i.stop(); err != nil {
			b.report.fault("%v", err)
		}
	}
}

// status measures the commands that print a state, from exec to exit.
func (b *bench) status(running []*instance) {
	one := b.report.measure(fmt.Sprintf("status of one of %d, the whole command", b.services), "ms", "<= 8")
	all := b.report.measure(fmt.Sprintf("status of all %d, the whole command", b.services), "ms", "<= 15")
	for round := range b.statusCalls {
		for _, i := range rotated(running, round) {
			if i.kind.name == "supervisor" && round >= 5 {
				continue
			}
			if i.kind.statusOne != nil {
				b.timeCommand(one, i, i.kind.statusOne(i.setting))
			}
			if i.kind.statusAll != nil {
				b.timeCommand(all, i, i.kind.statusAll(i.setting))
			}
		}
	}
}

func (b *bench) timeCommand(m *measure, i *instance, arguments []string) {
	command := exec.Command(arguments[0], arguments[1:]...)
	begin := time.Now()
	out, err := command.Output()
	took := time.Since(begin)
	if err != nil || len(out) == 0 {
		b.report.fault("cannot ask %s for a state: %v, %d bytes of answer", i.kind.name, err, len(out))
		return
	}
	m.add(i.kind.name, milliseconds(took))
}
