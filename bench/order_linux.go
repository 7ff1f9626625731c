package main

import (
	"fmt"
	"slices"
)

// orderedKind is abide with services that need each other: needs returns the slots
// that one requires.
func orderedKind(name string, needs func(slot, services int) []int) *kind {
	k := abideKind(name)
	k.prepare = func(s *setting) error {
		return eachService(s, func(slot int) error {
			text := fmt.Sprintf("command = [%q, %q, \"%d\"]\nrequires = [", s.programs.stamp, s.fifo, slot)
			for _, need := range needs(slot, s.services) {
				text += fmt.Sprintf("%q, ", s.name(need))
			}
			return writeFile(s.path("services", s.name(slot)+".toml"), text+"]\n", 0o644)
		})
	}
	return k
}

// In a chain each service needs the one before; in a fan all need the first.
func chain(slot, _ int) []int {
	if slot == 0 {
		return nil
	}
	return []int{slot - 1}
}

func fan(slot, _ int) []int {
	if slot == 0 {
		return nil
	}
	return []int{0}
}

// order measures what it costs that services wait for each other, against the same
// services without needs.
func (b *bench) order() {
	b.orderOf([]*kind{baselineKind(), abideKind("abide"), orderedKind("abide-chain", chain), orderedKind("abide-fan", fan)})
}

func (b *bench) orderOf(kinds []*kind) {
	started := b.report.measure(fmt.Sprintf("start of %d services that need each other", b.services), "ms", "in order")
	stopped := b.report.measure(fmt.Sprintf("stop of %d services that need each other", b.services), "ms", "in reverse order")
	for _, k := range kinds {
		i, err := newInstance(k, b, b.services)
		if err != nil {
			b.report.fault("%v", err)
			continue
		}
		for round := -1; round < max(1, b.rounds/2); round++ {
			up, err := i.start()
			if err != nil {
				b.report.fault("%v", err)
				i.end()
				break
			}
			if err := i.inOrder(); err != nil {
				b.report.fault("%v", err)
			}
			i.settle()
			down, err := i.stop()
			if err != nil {
				b.report.fault("%v", err)
				break
			}
			if round >= 0 {
				started.add(k.name, milliseconds(up))
				stopped.add(k.name, milliseconds(down))
			}
		}
		i.remove()
	}
}

// inOrder checks that no service was made before what it needs, by the numbers that
// the kernel gives processes in ascending order. When each executed its first
// instruction says less: on two processors the later one may be first.
func (i *instance) inOrder() error {
	var needs func(int, int) []int
	switch i.kind.name {
	case "abide-chain":
		needs = chain
	case "abide-fan":
		needs = fan
	default:
		return nil
	}
	highest := slices.Max(i.pids)
	for slot, pid := range i.pids {
		for _, need := range needs(slot, len(i.pids)) {
			if i.pids[need] > pid && highest-pid < highest/2 {
				return fmt.Errorf("under %s service %d was made before service %d, which it needs", i.kind.name, slot, need)
			}
		}
	}
	return nil
}
