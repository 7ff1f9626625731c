package main

import (
	"context"
	"fmt"
	"time"

	"github.com/abide-project/abide/client"
)

// soakRestarts restarts services over and over and looks whether anything that
// could grow has grown. The services die all at once, as often as it takes.
func (b *bench) soakRestarts() {
	for _, k := range b.kinds {
		if k.name != "abide" {
			continue
		}
		if err := b.soakOne(k); err != nil {
			b.report.fault("cannot soak abide: %v", err)
		}
	}
}

func (b *bench) soakOne(k *kind) error {
	services := min(b.services, max(50, b.soak/20))
	i, err := newInstance(k, b, services)
	if err != nil {
		return err
	}
	defer i.remove()
	if _, err := i.start(); err != nil {
		i.end()
		return err
	}
	defer i.stop()
	// The first two sweeps fill whatever is filled once.
	if err := b.sweeps(i, 2); err != nil {
		return err
	}
	rounds := (b.soak + services - 1) / services
	m := b.report.measure(fmt.Sprintf("soak, %d restarts of %d services, %d control connections", rounds*services, services, b.connections), "", "back where it was")
	m.Single, m.Floor = true, ""
	m.measureState("before", i)
	if err := b.sweeps(i, rounds); err != nil {
		return err
	}
	if err := connections(i, b.connections); err != nil {
		return err
	}
	i.rest(b)
	m.measureState("after", i)
	return nil
}

// connections asks over so many connections of their own, one after the other.
func connections(i *instance, n int) error {
	for range n {
		c, err := client.Dial(i.setting.path("run"))
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		_, err = c.About(ctx)
		cancel()
		c.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) sweeps(i *instance, n int) error {
	for range n {
		i.settle()
		if _, err := i.killAll(); err != nil {
			return err
		}
	}
	i.rest(b)
	return nil
}

// rest lets the engine give memory back, which it does on its way into idleness.
func (i *instance) rest(b *bench) {
	i.settle()
	time.Sleep(min(b.idle, 15*time.Second))
}

func (m *measure) measureState(when string, i *instance) {
	own := i.own()
	m.add("MB of memory "+when, float64(pss(own))/1e6)
	m.add("descriptors "+when, float64(count(own, "fd")))
	m.add("threads "+when, float64(count(own, "task")))
	m.add("processes "+when, float64(len(own)))
}
