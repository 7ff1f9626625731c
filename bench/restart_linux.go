package main

import (
	"slices"
	"time"
)

// alone measures the restart of the only service of each supervisor. All of
// them run at the same time and take turns; the order rotates.
func (b *bench) alone() {
	m := b.report.measure("restart, the only service: SIGKILL -> first instruction of the next", "ms", "<= 2.0 x C, then <= 1.6 x C, ahead of every peer")
	running := b.instances(1)
	for _, i := range running {
		defer i.remove()
		if _, err := i.start(); err != nil {
			b.report.fault("%v", err)
			i.end()
			running = slices.DeleteFunc(slices.Clone(running), func(other *instance) bool { return other == i })
		}
	}
	for _, i := range running {
		m.row(i.kind.name).Note = i.kind.note
	}
	for round := range b.singles {
		for _, i := range rotated(running, round) {
			if i.kind.throttled && round%4 != 0 {
				continue
			}
			// What has just been restarted by a neighbour's turn is at rest by
			// now; what this supervisor restarted last must count as healthy.
			i.settle()
			time.Sleep(5 * time.Millisecond)
			took, err := i.killOne(0)
			if err != nil {
				b.report.fault("%v", err)
				continue
			}
			m.add(i.kind.name, milliseconds(took))
		}
	}
	for _, i := range running {
		if _, err := i.stop(); err != nil {
			b.report.fault("%v", err)
		}
	}
}

// many measures what needs a crowd, one supervisor after the other, in rounds:
// the start of all, the restart of one among them, the restart of all, the end
// of all. The first start of each, which makes its folders, is not counted.
func (b *bench) many() {
	list := b.instances(b.services)
	for _, i := range list {
		defer i.remove()
	}
	broken := map[*instance]bool{}
	first := 0
	if b.warmUp {
		first = -1
	}
	for round := first; round < b.rounds; round++ {
		for _, i := range rotated(list, round+1) {
			// Those that wait by design do so every time.
			if broken[i] || i.kind.throttled && round >= 2 {
				continue
			}
			if err := b.oneRound(i, round); err != nil {
				b.report.fault("%v", err)
				broken[i] = true
			}
		}
	}
}

func (b *bench) oneRound(i *instance, round int) error {
	name := i.kind.name
	started := b.report.measure("start of all services: exec of the supervisor -> last first instruction", "ms", "<= 2 x C")
	one := b.report.measure("restart, one among all", "ms", "<= 2.0 x C, then <= 1.6 x C, ahead of every peer")
	all := b.report.measure("all killed at once -> all back", "ms", "<= 2 x C")
	stopped := b.report.measure("order to stop -> last service gone", "ms", "<= 100 ms")

	took, err := i.start()
	if err != nil {
		i.end()
		return err
	}
	i.settle()
	if round < 0 {
		_, err := i.stop()
		return err
	}
	started.add(name, milliseconds(took))
	kills := max(1, b.singles/3)
	if i.kind.throttled {
		kills = max(1, kills/8)
	}
	for kill := range kills {
		took, err := i.killOne((round*kills + kill*7) % b.services)
		if err != nil {
			i.stop()
			return err
		}
		one.row(name).Note = i.kind.note
		one.add(name, milliseconds(took))
		time.Sleep(5 * time.Millisecond)
	}
	i.settle()
	if took, err = i.killAll(); err != nil {
		i.stop()
		return err
	}
	all.row(name).Note = i.kind.note
	all.add(name, milliseconds(took))
	if b.warmUp {
		i.settle()
	}
	if took, err = i.stop(); err != nil {
		return err
	}
	stopped.add(name, milliseconds(took))
	return nil
}
