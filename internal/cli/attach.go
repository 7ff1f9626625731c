package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/abide-project/abide/client"
	"github.com/abide-project/abide/internal/control"
)

// end shuts an instance down and waits until it is gone.
func (a *app) end(c *client.Client, i instance, err error) error {
	if err != nil {
		return err
	}
	defer c.Close()
	outcomes, err := a.do(a.cmd.Context(), c, client.Request{Verb: control.Shutdown})
	var e *control.Error
	if errors.As(err, &e) && e.Code == control.NoDaemon {
		err = nil // it ended before it could say so
	}
	if err != nil {
		return err
	}
	if err := a.outcomes(control.Shutdown, outcomes); err != nil || a.noWait {
		return err
	}
	p := a.startProgress("waiting for abide to end")
	released := awaitRelease(i.run, a.timeout)
	p.stop()
	if released && len(outcomes) == 0 && !a.json {
		fmt.Fprintln(a.stdout, "everything is stopped")
	}
	if !released {
		return &control.Error{Code: control.TimedOut, Message: fmt.Sprintf("cannot wait for %s to end: it takes longer than %s; the work goes on", i, a.timeout)}
	}
	return nil
}

// attachTo is the proxy of an instance if one lives, or is about to live again. It
// reports false when there is none. Signals count from the first moment: whoever
// starts us may stop us before we know what we are.
func (a *app) attachTo(i instance) (attached bool, err error) {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	if livesOrComes(i.run) {
		if _, taken := a.taken(i); taken {
			return true, a.proxy(i, signals)
		}
	}
	signal.Reset(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	for {
		select {
		case s := <-signals:
			if s != syscall.SIGHUP {
				return true, nil
			}
		default:
			return false, nil
		}
	}
}

// proxy stays in the foreground in the place of an instance that lives already:
// it passes signals on and ends when that instance ends, with its exit code.
func (a *app) proxy(i instance, signals <-chan os.Signal) error {
	c, about, err := a.reach(i)
	if err != nil {
		return err
	}
	defer c.Close()
	fmt.Fprintf(a.stderr, "abide: attached to abide-keeper, pid %d, in %s\n", about.Keeper, i.run)
	ended := make(chan int, 1)
	go func() { ended <- a.watchEnd(c, i, about.Cursor) }()
	notify("READY=1\nSTATUS=attached to abide-keeper pid " + strconv.Itoa(about.Keeper))
	asked := false
	for {
		select {
		case s := <-signals:
			req := client.Request{Verb: control.Apply}
			if s != syscall.SIGHUP {
				asked = true
				req = client.Request{Verb: control.Shutdown, NoWait: true}
				notify("STOPPING=1")
			}
			go a.pass(c, req)
		case code := <-ended:
			switch {
			case code >= 0:
				return exitCode(code)
			case asked:
				return nil
			default:
				return failed("", "cannot stay attached to %s: it ended without saying how", i)
			}
		}
	}
}

// pass sends what a signal asks for and says what came of it.
func (a *app) pass(c *client.Client, req client.Request) {
	outcomes, err := c.Do(a.cmd.Context(), req)
	var e *control.Error
	if errors.As(err, &e) && e.Code != control.NoDaemon {
		a.complain(e.Message, e.Hint)
	}
	for _, o := range outcomes {
		a.outcome(req.Verb, o)
	}
}

// reach dials an instance whose lock is held: one that is just starting has no
// socket for a moment.
func (a *app) reach(i instance) (*client.Client, client.About, error) {
	for try := 0; ; try++ {
		c, err := client.Dial(i.run)
		if err == nil {
			about, err := c.About(a.cmd.Context())
			if err != nil {
				c.Close()
			}
			return c, about, err
		}
		if try == 100 {
			return nil, client.About{}, err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// watchEnd returns when the instance is gone: with the exit code that its last
// event told, or -1.
func (a *app) watchEnd(c *client.Client, i instance, cursor uint64) int {
	code := -1
	for {
		c.Events(context.Background(), cursor, true, func(e client.Event) error {
			cursor = e.Cursor
			if text, ok := e.Fields["exit_code"]; ok && e.Service == "" {
				if n, err := strconv.Atoi(text); err == nil {
					code = n
				}
			}
			return nil
		})
		// The stream ends when nothing listens. Who still holds the lock is being
		// replaced, or about to go.
		if awaitRelease(i.run, time.Second) {
			return code
		}
	}
}

// notify tells the init above us, sd_notify(3). That it may not listen is its
// own affair.
func notify(state string) {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" || name[0] != '/' && name[0] != '@' {
		return
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return
	}
	defer conn.Close()
	conn.Write([]byte(state))
}
