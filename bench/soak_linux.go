package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

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
	m := b.report.measure(fmt.Sprintf("soak, %d restarts of %d services", rounds*services, services), "", "back where it was")
	m.Single, m.Floor = true, ""
	m.measureState("before", i)
	if err := b.sweeps(i, rounds); err != nil {
		return err
	}
	m.measureState("after", i)
	return nil
}

func (b *bench) sweeps(i *instance, n int) error {
	for range n {
		i.settle()
		if _, err := i.killAll(); err != nil {
			return err
		}
	}
	i.settle()
	// The engine gives memory back on its way into idleness.
	time.Sleep(min(b.idle, 15*time.Second))
	return nil
}

func (m *measure) measureState(when string, i *instance) {
	own := i.own()
	m.add("MB of memory "+when, float64(pss(own))/1e6)
	m.add("descriptors "+when, float64(count(own, "fd")))
	m.add("threads "+when, float64(count(own, "task")))
	m.add("processes "+when, float64(len(own)))
}

// adopt kills the engine under all its services and measures how long it takes
// until a new one answers for every one of them with the same pid as before.
func (b *bench) adopt() {
	for _, k := range b.kinds {
		if k.name != "abide" {
			continue
		}
		i, err := newInstance(k, b, b.services)
		if err != nil {
			b.report.fault("%v", err)
			return
		}
		defer i.remove()
		if _, err := i.start(); err != nil {
			b.report.fault("%v", err)
			i.end()
			return
		}
		for range max(1, b.rounds*2) {
			i.settle()
			if err := b.adoptOnce(i); err != nil {
				b.report.fault("cannot measure the adoption of services: %v", err)
				break
			}
		}
		if _, err := i.stop(); err != nil {
			b.report.fault("%v", err)
		}
	}
}

func (b *bench) adoptOnce(i *instance) error {
	c, err := client.Dial(i.setting.path("run"))
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	about, err := c.About(ctx)
	if err != nil {
		return err
	}
	begin := now()
	if err := unix.Kill(about.Pid, unix.SIGKILL); err != nil {
		return fmt.Errorf("cannot kill the engine: %w", err)
	}
	// The socket outlives the engine: this waits for the next one, it is not
	// refused.
	list, err := c.Status(ctx)
	took := time.Duration(now() - begin)
	if err != nil {
		return err
	}
	if len(list) != b.services {
		return fmt.Errorf("%d services are known after the engine's death, want %d", len(list), b.services)
	}
	for _, status := range list {
		slot := 0
		if _, err := fmt.Sscanf(status.Name, "s%d", &slot); err != nil || slot >= len(i.pids) {
			return fmt.Errorf("a service is called %q", status.Name)
		}
		if status.State != "running" || status.Pid != i.pids[slot] {
			return fmt.Errorf("%s is %s with pid %d after the engine's death, was running with %d", status.Name, status.State, status.Pid, i.pids[slot])
		}
	}
	b.report.measure(fmt.Sprintf("engine SIGKILL -> answered for all %d, same pids", b.services), "ms", "<= 50").add("abide", milliseconds(took))
	return nil
}
