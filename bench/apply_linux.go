package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/abide-project/abide/client"
)

// apply measures how long it takes that one changed definition among many is in
// force: from the order, over the socket, to its outcome.
func (b *bench) apply() {
	definitions, rounds := 10_000, 15
	if b.services < 1000 { // quick
		definitions, rounds = 100, 2
	}
	if err := b.applyAmong(definitions, rounds); err != nil {
		b.report.fault("apply: %v", err)
	}
}

func (b *bench) applyAmong(definitions, rounds int) error {
	dir, err := os.MkdirTemp(b.dir, "apply-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	services := filepath.Join(dir, "services")
	if err := os.Mkdir(services, 0o755); err != nil {
		return err
	}
	define := func(i, nice int) error {
		text := fmt.Sprintf("command = [\"/bin/sleep\", \"1000\"]\nuser = \"nobody\"\nenabled = false\nnice = %d\n[restart]\ndelay = \"1s\"\n", nice)
		return writeFile(filepath.Join(services, fmt.Sprintf("s%05d.toml", i)), text, 0o644)
	}
	for i := range definitions {
		if err := define(i, 0); err != nil {
			return err
		}
	}
	d, err := startDaemon(b.bin, dir)
	if err != nil {
		return err
	}
	defer d.end()
	c, err := client.Dial(d.run())
	if err != nil {
		return err
	}
	defer c.Close()
	planned := b.report.measure(fmt.Sprintf("plan of one changed definition among %d", definitions), "ms", "<= 100")
	applied := b.report.measure(fmt.Sprintf("apply of one changed definition among %d", definitions), "ms", "<= 100")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for round := -1; round < rounds; round++ {
		name := fmt.Sprintf("s%05d", (round+1)*definitions/(rounds+1))
		if err := define((round+1)*definitions/(rounds+1), 5); err != nil {
			return err
		}
		began := time.Now()
		plan, err := c.Plan(ctx)
		if err != nil {
			return err
		}
		looked := time.Now()
		outcomes, err := c.Do(ctx, client.Request{Verb: client.Apply})
		done := time.Now()
		if err != nil {
			return err
		}
		if len(plan.Steps) != 1 || len(outcomes) != 1 || outcomes[0].Name != name || !outcomes[0].Done {
			return fmt.Errorf("a change of %s is planned as %+v and came to %+v", name, plan.Steps, outcomes)
		}
		if round >= 0 { // the first one also puts all that is in force into the archive
			planned.add("abide", milliseconds(looked.Sub(began)))
			applied.add("abide", milliseconds(done.Sub(looked)))
		}
	}
	return nil
}
