package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/client"
)

// daemon is an abide whose folders are all below one folder, for the measures
// that look closer than a comparison with others can.
type daemon struct {
	bin, dir string
	process  *exec.Cmd
}

// startDaemon returns when the daemon answers.
func startDaemon(bin, dir string) (*daemon, error) {
	arguments := abideDaemon(bin, dir)
	output, err := os.Create(filepath.Join(dir, "output"))
	if err != nil {
		return nil, err
	}
	defer output.Close()
	d := &daemon{bin: bin, dir: dir, process: exec.Command(arguments[0], arguments[1:]...)}
	d.process.Dir = dir
	d.process.Stdout, d.process.Stderr = output, output
	if err := d.process.Start(); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		err := d.answers()
		if err == nil {
			return d, nil
		}
		if time.Now().After(deadline) {
			d.end()
			said, _ := os.ReadFile(filepath.Join(dir, "output"))
			return nil, fmt.Errorf("cannot start abide: %w; it said: %s", err, said)
		}
	}
}

// answers asks the engine; the socket alone is the keeper's, and there first.
func (d *daemon) answers() error {
	c, err := client.Dial(d.run())
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, err = c.About(ctx)
	return err
}

func (d *daemon) run() string { return filepath.Join(d.dir, "run") }

// abide runs one command line verb against the daemon.
func (d *daemon) abide(arguments ...string) error {
	command := exec.Command(filepath.Join(d.bin, "abide"), append([]string{"--run", d.run()}, arguments...)...)
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("abide %s: %w: %.300s", arguments[0], err, out)
	}
	return nil
}

// end stops the daemon with all its services.
func (d *daemon) end() {
	d.process.Process.Signal(unix.SIGTERM)
	done := make(chan struct{})
	go func() {
		d.process.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		d.process.Process.Kill()
		<-done
	}
}
