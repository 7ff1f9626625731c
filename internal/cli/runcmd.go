package cli

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/abide-project/abide/client"
	"github.com/abide-project/abide/internal/model"
)

// runCommand is `abide run`.
func (a *app) runCommand(args []string) error {
	if a.atDash != 0 {
		return usage("abide run -- "+strings.Join(args, " "), "cannot run: the command stands behind --")
	}
	a.own = exitOwnFailure
	cmd, err := a.transient(args)
	if err != nil {
		if errors.Is(err, syscall.ENOENT) {
			a.own = exitNotFound
		} else if errors.Is(err, syscall.EACCES) {
			a.own = exitNoProgram
		}
		return err
	}
	return a.ask(func(ctx context.Context, c *client.Client) error {
		p := a.startProgress("waiting for abide to run " + args[0])
		cmd.Waiting = p.say
		outcomes, err := c.Run(ctx, cmd)
		p.stop()
		if err != nil {
			return err
		}
		if len(outcomes) != 1 {
			return failed("", "cannot run %s: abide answered for %d services", args[0], len(outcomes))
		}
		o := outcomes[0]
		if !a.wait || !o.Done {
			err := a.outcomes("run", outcomes)
			if err != nil {
				return exitCode(exitOwnFailure)
			}
			return nil
		}
		return a.follow1(ctx, c, o.Name)
	})
}

// transient makes a service of a command: looked up with our own PATH and run in
// the working directory, as a shell would.
func (a *app) transient(args []string) (client.Command, error) {
	program, err := findProgram(args[0], filepath.SplitList(os.Getenv("PATH")))
	if err == nil {
		program, err = filepath.Abs(program)
	}
	if err != nil {
		return client.Command{}, err
	}
	dir, err := filepath.Abs(a.dir)
	if err != nil {
		return client.Command{}, fmt.Errorf("cannot use directory %q: %w", a.dir, err)
	}
	cmd := client.Command{Name: a.name, Command: append([]string{program}, args[1:]...), Directory: dir}
	for _, e := range a.env {
		name, value, given := strings.Cut(e, "=")
		if !given {
			if value, given = os.LookupEnv(name); !given {
				continue
			}
		}
		cmd.Environment = append(cmd.Environment, name+"="+value)
	}
	return cmd, nil
}

// follow1 shows what a service writes until its run ends, and returns its exit
// code.
func (a *app) follow1(ctx context.Context, c *client.Client, name string) error {
	following, cancel := context.WithCancel(ctx)
	defer cancel()
	var cursor string
	var reader sync.WaitGroup
	out := bufio.NewWriter(a.stdout)
	print := func(r client.LogRecord) error {
		cursor = r.Cursor
		text := r.Text
		if r.Base64 {
			if raw, err := base64.StdEncoding.DecodeString(text); err == nil {
				text = string(raw)
			}
		}
		if r.Stream == "out" {
			out.WriteString(text)
			out.WriteByte('\n')
			return out.Flush()
		}
		_, err := fmt.Fprintln(a.stderr, text)
		return err
	}
	reader.Go(func() { c.Logs(following, client.LogQuery{Names: []string{name}, Lines: -1, Follow: true}, print) })
	list, err := c.Wait(ctx, []string{name}, "", 0)
	cancel()
	reader.Wait()
	if err != nil {
		return err
	}
	// What came between the last line that was followed and the end.
	c.Logs(ctx, client.LogQuery{Names: []string{name}, Lines: -1, Cursor: cursor}, print)
	if len(list) != 1 || list[0].LastExit == nil {
		return failed("abide status "+name, "cannot tell how %s ended: %s", name, reasonOf(list))
	}
	return exitLike(list[0].LastExit)
}

func reasonOf(list []client.Status) string {
	if len(list) == 1 {
		if why := whyText(&list[0]); why != "" {
			return why
		}
	}
	return "nobody saw it"
}

// exitLike passes an exit on as a shell does: the code, or 128 and the signal.
func exitLike(e *client.Exit) error {
	switch {
	case e.Code != nil && *e.Code == 0:
		return nil
	case e.Code != nil:
		return exitCode(*e.Code)
	case e.Signal != nil:
		if n, err := model.ParseSignal(*e.Signal); err == nil {
			return exitCode(128 + n)
		}
	}
	return failed("", "cannot tell the exit code: it ended when nobody could see how")
}
