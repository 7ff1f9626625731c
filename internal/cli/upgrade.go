package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/abide-project/abide/client"
	"github.com/abide-project/abide/internal/control"
)

func upgradeFlags(f *pflag.FlagSet, o *options) {
	f.BoolVar(&o.all, "all", false, "upgrade every abide that runs here and that you may, one after the other")
	jsonFlag(f, o)
}

// upgrade moves the running abide to other program files.
func (a *app) upgrade(args []string) error {
	dir := ""
	if len(args) > 0 {
		path, err := filepath.Abs(args[0])
		if err == nil {
			_, err = os.Stat(path)
		}
		if err != nil {
			return failed("", "cannot upgrade to %s: %v", args[0], cause(err))
		}
		dir = path
	}
	if a.all {
		return a.upgradeAll(dir)
	}
	return a.ask(func(ctx context.Context, c *client.Client) error {
		outcomes, err := a.upgradeOne(ctx, c, dir)
		if err != nil {
			return err
		}
		return a.outcomes(control.Upgrade, outcomes)
	})
}

func (a *app) upgradeOne(ctx context.Context, c *client.Client, dir string) ([]client.Outcome, error) {
	p := a.startProgress("waiting for abide to upgrade")
	defer p.stop()
	return c.Upgrade(ctx, dir, p.say)
}

// upgradeAll goes on after a failure: each instance is another's business.
func (a *app) upgradeAll(dir string) error {
	if one, err := a.chosen(); err != nil || one != nil {
		if err == nil {
			err = usage(helpHint("upgrade"), "cannot upgrade: --all and the choice of one exclude each other")
		}
		return err
	}
	var list []client.Outcome
	for _, run := range runFolders() {
		c, err := client.Dial(run)
		var e *control.Error
		if errors.As(err, &e) && (e.Code == control.NoDaemon || e.Code == control.NotPermitted) {
			continue
		}
		outcomes := []client.Outcome(nil)
		if err == nil {
			outcomes, err = a.upgradeOne(a.cmd.Context(), c, dir)
			c.Close()
		}
		if errors.As(err, &e) {
			if e.Code == control.NotPermitted {
				continue
			}
			outcomes, err = []client.Outcome{{Code: e.Code, Message: e.Message, Hint: e.Hint}}, nil
		}
		if err != nil {
			outcomes = []client.Outcome{{Code: control.Failed, Message: fmt.Sprintf("cannot upgrade: %v", err)}}
		}
		for i := range outcomes {
			o := &outcomes[i]
			if o.Message = strings.TrimPrefix(o.Message, "cannot upgrade: "); o.Done {
				o.Message = run + ": " + o.Message
			} else {
				o.Message = fmt.Sprintf("cannot upgrade the abide in %s: %s", run, o.Message)
			}
		}
		list = append(list, outcomes...)
	}
	if len(list) == 0 && !a.json {
		fmt.Fprintln(a.stdout, "no abide runs here that you may upgrade")
		return nil
	}
	return a.outcomes(control.Upgrade, list)
}

// runFolders are the run directories of this machine in which an abide may live:
// the system's, those of users and of projects.
func runFolders() []string {
	folders := []string{systemInstance().run}
	if acct, err := ownAccount(); err == nil {
		folders = append(folders, userInstance(acct).run)
	}
	logins, _ := filepath.Glob("/run/user/*/abide")
	folders = append(folders, logins...)
	for _, dir := range folders {
		projects, _ := filepath.Glob(filepath.Join(escapeGlob(dir), "projects", "*"))
		folders = append(folders, projects...)
	}
	slices.Sort(folders[1:])
	return slices.Compact(folders)
}
