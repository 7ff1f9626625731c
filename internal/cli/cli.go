// Package cli is abide's command line: it finds the instance that is meant, asks
// it through the client, and shows the answer to a person or a script. It
// supervises nothing itself; daemon and init become the keeper, up is its parent.
// One table of verbs is the source of the parser, help, manual pages and
// completion. Exit codes are those of docs/cli.md.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/diag"
	"github.com/abide-project/abide/internal/sys/self"
)

// The exit codes.
const (
	exitDone = iota
	exitFailed
	exitUsage
	exitNotRunning
	exitUnknown
	exitNotPermitted
	exitNoDaemon
	exitTimedOut

	exitOwnFailure = 125 // of run, up, init: abide itself failed
	exitNoProgram  = 126
	exitNotFound   = 127
)

// exitCode is an error that says nothing more: what there was to say is said.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// app is one call of abide.
type app struct {
	options
	set     *pflag.FlagSet // the flags of the verb, for what was given
	atDash  int            // index of the first argument behind --, -1 without
	cmd     *cobra.Command
	stdin   *os.File
	stdout  io.Writer
	stderr  io.Writer
	outFile *os.File // what stdout writes to in the end, for questions about terminals
	errFile *os.File
	own     int // exit code of a failure of abide's own, for verbs that pass on another's
}

// Main runs one command line and returns its exit code.
func Main(args []string) int {
	a := &app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, outFile: os.Stdout, errFile: os.Stderr, own: exitFailed}
	return a.main(args)
}

func (a *app) main(args []string) int {
	root := a.tree(args)
	root.SetArgs(args)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	return a.report(root.ExecuteContext(context.Background()))
}

// report prints err in the one form and returns its exit code.
func (a *app) report(err error) int {
	if err == nil {
		return exitDone
	}
	var code exitCode
	if errors.As(err, &code) {
		return int(code)
	}
	var e *control.Error
	if !errors.As(err, &e) {
		e = &control.Error{Code: control.Failed, Message: err.Error()}
	}
	if a.json {
		data, _ := json.Marshal(map[string]any{"error": e})
		fmt.Fprintf(a.stderr, "%s\n", data)
	} else {
		a.complain(e.Message, e.Hint)
	}
	if a.own != exitFailed && e.Code != control.Usage {
		return a.own
	}
	return exitOf(e.Code)
}

// complain prints a message and its hint to the standard error.
func (a *app) complain(message, hint string) {
	fmt.Fprintf(a.stderr, "abide: %s\n", message)
	if hint != "" {
		fmt.Fprintf(a.stderr, "hint: %s\n", strings.ReplaceAll(hint, "\n", "\n      "))
	}
}

// exitOf maps the API's codes to exit codes.
func exitOf(code control.Code) int {
	switch code {
	case "":
		return exitDone
	case control.Usage:
		return exitUsage
	case control.NotRunning:
		return exitNotRunning
	case control.Unknown:
		return exitUnknown
	case control.NotPermitted:
		return exitNotPermitted
	case control.NoDaemon:
		return exitNoDaemon
	case control.TimedOut:
		return exitTimedOut
	default:
		return exitFailed
	}
}

func usage(hint, format string, args ...any) error {
	return &control.Error{Code: control.Usage, Message: fmt.Sprintf(format, args...), Hint: hint}
}

func failed(hint, format string, args ...any) error {
	return &control.Error{Code: control.Failed, Message: fmt.Sprintf(format, args...), Hint: hint}
}

// tree builds the commands. Only the verb that args name is built, unless none is
// found there: help and completion want them all.
func (a *app) tree(args []string) *cobra.Command {
	root := &cobra.Command{Use: "abide", SilenceErrors: true, SilenceUsage: true,
		Args: cobra.ArbitraryArgs, ValidArgsFunction: cobra.NoFileCompletions}
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetHelpFunc(func(c *cobra.Command, _ []string) { a.help(c) })
	root.SetUsageFunc(func(c *cobra.Command) error { return nil })
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usage(helpHint(c.Name()), "cannot read the command line: %v", err)
	})
	root.SetHelpCommand(&cobra.Command{Use: "help [VERB]", Hidden: true, ValidArgsFunction: a.completeVerbs,
		RunE: func(_ *cobra.Command, args []string) error { return a.helpVerb(args) }})
	globalFlags(root.PersistentFlags(), &a.options)

	table := verbs()
	wanted := lookup(table, firstWord(args))
	for _, v := range table {
		if v.name == "status" {
			v.flags(root.Flags(), &a.options)
		}
		if wanted == nil || wanted == v {
			root.AddCommand(a.command(v))
		}
	}
	root.RunE = func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return unknownVerb(args[0])
		}
		a.begin(c, args)
		return a.status(nil)
	}
	return root
}

func lookup(table []*verb, name string) *verb {
	for _, v := range table {
		if v.name == name {
			return v
		}
		for _, alias := range v.aliases {
			if alias == name {
				return v
			}
		}
	}
	return nil
}

// firstWord is the first argument that is neither a flag nor the value of one of
// the flags that may stand before the verb.
func firstWord(args []string) string {
	for i := 0; i < len(args); i++ {
		switch {
		case args[i] == "--run":
			i++
		case !strings.HasPrefix(args[i], "-"):
			return args[i]
		}
	}
	return ""
}

func (a *app) command(v *verb) *cobra.Command {
	c := &cobra.Command{Use: strings.TrimSpace(v.name + " " + v.args), Aliases: v.aliases, Short: v.summary, Long: v.long, Example: v.example}
	if v.flags != nil {
		v.flags(c.Flags(), &a.options)
	}
	c.Args = func(_ *cobra.Command, args []string) error { return checkArgs(v, c, args) }
	c.ValidArgsFunction = a.completer(v)
	c.RunE = func(_ *cobra.Command, args []string) error {
		a.begin(c, args)
		return v.run(a, args)
	}
	return c
}

func (a *app) begin(c *cobra.Command, _ []string) {
	a.cmd, a.set, a.atDash = c, c.Flags(), c.ArgsLenAtDash()
}

func checkArgs(v *verb, c *cobra.Command, args []string) error {
	switch {
	case len(args) < v.min:
		return usage(helpHint(v.name), "cannot %s: %s", v.name, missing(v))
	case v.max >= 0 && len(args) > v.max:
		return usage(helpHint(v.name), "cannot %s: unexpected argument %q", v.name, args[v.max])
	case !v.dash && c.ArgsLenAtDash() >= 0:
		return usage(helpHint(v.name), "cannot %s: it takes no command behind --", v.name)
	}
	return nil
}

func missing(v *verb) string { return "it needs " + v.args }

func helpHint(name string) string {
	if name == "" || name == "abide" {
		return "abide help"
	}
	return "abide help " + name
}

func unknownVerb(word string) error {
	hint := "abide help"
	if near := nearestVerb(word); near != "" {
		hint = "did you mean abide " + near + "?"
	}
	return usage(hint, "cannot %s: there is no verb of that name", quoteWord(word))
}

// nearestVerb is the one verb that word begins, else the one it resembles.
func nearestVerb(word string) string {
	var begun []string
	for _, name := range verbNames() {
		if strings.HasPrefix(name, word) {
			begun = append(begun, name)
		}
	}
	if len(begun) == 1 {
		return begun[0]
	}
	return diag.Nearest(word, verbNames())
}

// quoteWord quotes what a person typed unless it is plain.
func quoteWord(word string) string {
	for _, c := range word {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-_.@", c)) {
			return fmt.Sprintf("%q", word)
		}
	}
	if word == "" {
		return `""`
	}
	return word
}

// libexec finds a program of ours: beside this one, else in ../libexec/abide.
func libexec(name string) (string, error) {
	own, err := self.Path()
	if err != nil {
		return "", failed("", "cannot find %s: %v", name, err)
	}
	dir := filepath.Dir(own)
	for _, path := range []string{filepath.Join(dir, name), filepath.Join(dir, "..", "libexec", "abide", name)} {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return filepath.Clean(path), nil
		}
	}
	return "", failed("", "cannot find %s: it is neither in %s nor in %s", name, dir, filepath.Join(filepath.Dir(dir), "libexec", "abide"))
}
