package main

import (
	"context"
	"fmt"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/client"
)

// recovery is one way to lose processes of abide.
type recovery struct {
	row   string
	reach string
	keep  bool // the process the instance was started as lives on
	kill  func(*instance, client.About) error
}

var recoveries = []recovery{
	{"engine SIGKILL -> answered for all %d, same pids", "<= 50", true, func(_ *instance, a client.About) error {
		return unix.Kill(a.Pid, unix.SIGKILL)
	}},
	{"keeper SIGKILL -> answered for all %d, same pids", "<= 100", false, func(_ *instance, a client.About) error {
		return unix.Kill(a.Keeper, unix.SIGKILL)
	}},
	{"both SIGKILL and a new start -> answered for all %d, same pids", "", false, func(i *instance, a client.About) error {
		if err := unix.Kill(a.Keeper, unix.SIGSTOP); err != nil {
			return err
		}
		if err := unix.Kill(a.Pid, unix.SIGKILL); err != nil {
			return err
		}
		if err := unix.Kill(a.Keeper, unix.SIGKILL); err != nil {
			return err
		}
		arguments := i.kind.command(i.setting)
		again := exec.Command(arguments[0], arguments[1:]...)
		again.Dir = i.setting.dir
		if err := again.Start(); err != nil {
			return err
		}
		go again.Wait()
		return nil
	}},
}

const healthyEngine = 1500 * time.Millisecond

// recover kills abide's own processes under all services and measures how long
// it takes until abide answers for every one of them with the same pid as before.
func (b *bench) recover() {
	for _, k := range b.kinds {
		if k.name != "abide" {
			continue
		}
		for _, r := range recoveries {
			if err := b.recoverFrom(k, r); err != nil {
				b.report.fault("cannot measure %s: %v", fmt.Sprintf(r.row, b.services), err)
			}
		}
	}
}

func (b *bench) recoverFrom(k *kind, r recovery) error {
	i, err := newInstance(k, b, b.services)
	if err != nil {
		return err
	}
	defer i.remove()
	if _, err := i.start(); err != nil {
		i.end()
		return err
	}
	defer i.shutDown()
	for range max(1, b.rounds*2) {
		i.settle()
		// An engine that dies young several times in a row is started with a delay.
		time.Sleep(healthyEngine)
		took, err := b.recoverOnce(i, r)
		if err != nil {
			return err
		}
		b.report.measure(fmt.Sprintf(r.row, b.services), "ms", r.reach).add("abide", milliseconds(took))
	}
	return nil
}

func (b *bench) recoverOnce(i *instance, r recovery) (time.Duration, error) {
	c, err := client.Dial(i.setting.path("run"))
	if err != nil {
		return 0, err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	about, err := c.About(ctx)
	if err != nil {
		return 0, err
	}
	begin := now()
	if err := r.kill(i, about); err != nil {
		return 0, err
	}
	list, err := statusAfter(ctx, c, about.Pid)
	took := time.Duration(now() - begin)
	if err != nil {
		return 0, err
	}
	if len(list) != b.services {
		return 0, fmt.Errorf("%d services are known afterwards, want %d", len(list), b.services)
	}
	for _, status := range list {
		slot := 0
		if _, err := fmt.Sscanf(status.Name, "s%d", &slot); err != nil || slot >= len(i.pids) {
			return 0, fmt.Errorf("a service is called %q", status.Name)
		}
		if status.State != "running" || status.Pid != i.pids[slot] {
			return 0, fmt.Errorf("%s is %s with pid %d afterwards, was running with %d", status.Name, status.State, status.Pid, i.pids[slot])
		}
	}
	return took, nil
}

// statusAfter asks until another engine than the one before answers. An engine
// that has lost its keeper may answer for a moment longer, and between two keepers
// of which nobody handed anything over there is no socket.
func statusAfter(ctx context.Context, c *client.Client, before int) ([]client.Status, error) {
	for {
		about, err := c.About(ctx)
		if err == nil && about.Pid != before {
			return c.Status(ctx)
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		c.Close() // the connection is the old engine's
		time.Sleep(100 * time.Microsecond)
	}
}

// shutDown ends an instance that no longer is the process it was started as.
func (i *instance) shutDown() {
	exec.Command(i.setting.bin+"/abide", "--run", i.setting.path("run"), "shutdown").Run()
	i.end()
}
