package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/abide-project/abide/client"
	"github.com/abide-project/abide/internal/control"
)

// action is a verb whose arguments are the services it acts on.
func action(v control.Verb) func(*app, []string) error {
	return func(a *app, names []string) error {
		return a.act(client.Request{Verb: v, Names: names})
	}
}

func (a *app) reload(names []string) error {
	if len(names) == 0 {
		return usage("abide apply reads the definitions again", "cannot reload: it needs the NAME of a service")
	}
	return a.act(client.Request{Verb: control.Reload, Names: names})
}

func (a *app) signal(args []string) error {
	return a.act(client.Request{Verb: control.Signal, Signal: args[0], Names: args[1:]})
}

func (a *app) act(req client.Request) error {
	return a.ask(func(ctx context.Context, c *client.Client) error {
		outcomes, err := a.do(ctx, c, req)
		if err != nil {
			return err
		}
		a.addLastWords(ctx, c, req.Verb, outcomes)
		return a.outcomes(req.Verb, outcomes)
	})
}

// do sends a request with the flags of actions, and shows what is waited for.
func (a *app) do(ctx context.Context, c *client.Client, req client.Request) ([]client.Outcome, error) {
	req.Once, req.Now, req.NoWait, req.Timeout = a.once, a.now, a.noWait, a.timeout
	if a.timeout > 0 {
		// The engine keeps the time; this is for one that does not answer at all.
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, a.timeout+2*time.Second)
		defer cancel()
	}
	p := a.startProgress(waitText(req))
	defer p.stop()
	req.Waiting = p.say
	outcomes, err := c.Do(ctx, req)
	if errors.Is(err, context.DeadlineExceeded) {
		err = &control.Error{Code: control.TimedOut, Message: fmt.Sprintf("cannot %s: no answer within %s; the work goes on", phrase(req), a.timeout)}
	}
	return outcomes, err
}

func phrase(req client.Request) string {
	return strings.TrimSpace(string(req.Verb) + " " + strings.Join(req.Names, " "))
}

// waitText is said when the engine itself says nothing.
func waitText(req client.Request) string { return "waiting for abide to " + phrase(req) }

// outcomes prints what became of each service; its error is the exit code.
func (a *app) outcomes(v control.Verb, list []client.Outcome) error {
	if a.json {
		if list == nil {
			list = []client.Outcome{}
		}
		if err := a.printJSON(list); err != nil {
			return err
		}
	}
	code := exitDone
	for _, o := range list {
		if !a.json {
			a.outcome(v, o)
		}
		switch c := exitOf(o.Code); {
		case o.Done:
		case c == exitDone, code != exitDone && c != code:
			code = exitFailed
		default:
			code = c
		}
	}
	switch {
	case len(list) > 0 || a.json:
	case a.noWait:
		fmt.Fprintln(a.stdout, "the order is taken")
	case v == control.Apply:
		fmt.Fprintln(a.stdout, "nothing has changed")
	}
	if code != exitDone {
		return exitCode(code)
	}
	return nil
}

func (a *app) outcome(v control.Verb, o client.Outcome) {
	if o.Done {
		text := o.Message
		if o.Name != "" {
			text = o.Name + ": " + text
		}
		fmt.Fprintln(a.stdout, text)
		if o.Hint != "" {
			fmt.Fprintf(a.stderr, "hint: %s\n", o.Hint)
		}
		return
	}
	message := o.Message
	if !strings.HasPrefix(message, "cannot ") {
		message = fmt.Sprintf("cannot %s: %s", strings.TrimSpace(string(v)+" "+o.Name), message)
	}
	a.complain(message, o.Hint)
}

func (a *app) printJSON(v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err == nil {
		_, err = fmt.Fprintf(a.stdout, "%s\n", data)
	}
	return err
}

func (a *app) waitFor(names []string) error {
	switch a.state {
	case "", "running", "stopped", "finished", "failed", "waiting", "starting", "degraded", "disabled":
	default:
		return usage("abide wait NAME --for running", "cannot wait for state %s: there is none of that name", quoteWord(a.state))
	}
	return a.ask(func(ctx context.Context, c *client.Client) error {
		what := a.state
		if what == "" {
			what = "ended"
		}
		p := a.startProgress(fmt.Sprintf("waiting for %s to be %s", strings.Join(names, ", "), what))
		list, err := c.Wait(ctx, names, a.state, a.timeout)
		p.stop()
		if err != nil {
			return err
		}
		if a.json {
			return a.printJSON(list)
		}
		for i := range list {
			fmt.Fprintf(a.stdout, "%s: %s\n", list[i].Name, stateText(&list[i]))
		}
		return nil
	})
}
