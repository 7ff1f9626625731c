package cli

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/abide-project/abide/internal/model"
	"github.com/abide-project/abide/internal/version"
)

func (a *app) completion(args []string) error {
	root := a.cmd.Root()
	switch args[0] {
	case "bash":
		return root.GenBashCompletionV2(a.stdout, true)
	case "zsh":
		return root.GenZshCompletion(a.stdout)
	case "fish":
		return root.GenFishCompletion(a.stdout, true)
	default:
		return usage(helpHint("completion"), "cannot write completion for %s: want bash, zsh or fish", quoteWord(args[0]))
	}
}

type completeFunc = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

// completer completes the arguments of a verb.
func (a *app) completer(v *verb) completeFunc {
	switch v.complete {
	case completeFiles:
		return nil
	case completeShells:
		return cobra.FixedCompletions([]string{"bash", "zsh", "fish"}, cobra.ShellCompDirectiveNoFileComp)
	case completeServices, completeSignal:
		return func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if v.complete == completeSignal && len(args) == 0 {
				return model.SignalNames(), cobra.ShellCompDirectiveNoFileComp
			}
			if v.max >= 0 && len(args) >= v.max {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			a.begin(c, args)
			return a.completeServices(args), cobra.ShellCompDirectiveNoFileComp
		}
	default:
		return cobra.NoFileCompletions
	}
}

// completeServices asks the instance for the names that are not there yet.
// Whatever fails completes nothing: the shell's line is no place for errors.
func (a *app) completeServices(given []string) []string {
	a.cmd.SetContext(context.Background())
	c, _, err := a.connect()
	if err != nil {
		return nil
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	list, err := c.Status(ctx)
	if err != nil {
		return nil
	}
	var names []string
	for i := range list {
		if !slices.Contains(given, list[i].Name) {
			names = append(names, list[i].Name+"\t"+stateText(&list[i]))
		}
	}
	return names
}

func (a *app) completeVerbs(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	var names []string
	for _, v := range verbs() {
		names = append(names, v.name+"\t"+v.summary)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func (a *app) version([]string) error {
	if a.json {
		return a.printJSON(map[string]string{"version": version.Version})
	}
	_, err := fmt.Fprintf(a.stdout, "abide %s\n", strings.TrimPrefix(version.Version, "v"))
	return err
}

func sortedNames[T any](m map[string]T) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}
