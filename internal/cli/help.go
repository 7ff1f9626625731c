package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const tagline = "abide runs programs and keeps them running."

// helpVerb is `abide help VERB`.
func (a *app) helpVerb(args []string) error {
	if len(args) == 0 {
		writeOverview(a.stdout)
		return nil
	}
	v := lookup(verbs(), args[0])
	if v == nil {
		return unknownVerb(args[0])
	}
	writeHelp(a.stdout, v)
	return nil
}

// help is what --help shows.
func (a *app) help(c *cobra.Command) {
	if v := lookup(verbs(), c.Name()); v != nil && c.HasParent() {
		writeHelp(a.stdout, v)
		return
	}
	writeOverview(a.stdout)
}

func writeOverview(w io.Writer) {
	fmt.Fprintf(w, "%s\n\nUsage: abide VERB [FLAGS] [NAME...]\n", tagline)
	for _, group := range groups {
		fmt.Fprintf(w, "\n%s:\n", group)
		for _, v := range verbs() {
			if v.group == group {
				fmt.Fprintf(w, "  %-11s %s\n", v.name, v.summary)
			}
		}
	}
	fmt.Fprintf(w, "\nWhich instance (with every verb):\n%s\nExample:\n  abide help start\n", flagText(globalSet()))
}

func writeHelp(w io.Writer, v *verb) {
	fmt.Fprintf(w, "%s\n\nUsage: %s\n", sentence(v.summary), usageLine(v))
	if v.long != "" {
		fmt.Fprintf(w, "\n%s\n", v.long)
	}
	if f := verbSet(v); f.HasFlags() {
		fmt.Fprintf(w, "\nFlags:\n%s", flagText(f))
	}
	fmt.Fprintf(w, "\nExample:\n  %s\n", v.example)
}

func usageLine(v *verb) string {
	line := "abide " + v.name
	if verbSet(v).HasFlags() {
		line += " [FLAGS]"
	}
	return strings.TrimSpace(line + " " + v.args)
}

// sentence makes a summary one.
func sentence(text string) string { return strings.ToUpper(text[:1]) + text[1:] + "." }

func verbSet(v *verb) *pflag.FlagSet {
	f := pflag.NewFlagSet(v.name, pflag.ContinueOnError)
	if v.flags != nil {
		v.flags(f, new(options))
	}
	return f
}

func globalSet() *pflag.FlagSet {
	f := pflag.NewFlagSet("abide", pflag.ContinueOnError)
	globalFlags(f, new(options))
	return f
}

// flagForm is "-f, --follow" or "--timeout TIME", and the text beside it.
func flagForm(f *pflag.Flag) (form, text string) {
	value, text := pflag.UnquoteUsage(f)
	form = "--" + f.Name
	if f.Shorthand != "" {
		form = "-" + f.Shorthand + ", " + form
	}
	switch {
	case f.NoOptDefVal == ownUser:
		form += "[=" + value + "]"
	case value != "":
		form += " " + value
	}
	return form, text
}

func flagText(set *pflag.FlagSet) string {
	width := 0
	set.VisitAll(func(f *pflag.Flag) {
		form, _ := flagForm(f)
		width = max(width, len(form))
	})
	var b strings.Builder
	set.VisitAll(func(f *pflag.Flag) {
		form, text := flagForm(f)
		fmt.Fprintf(&b, "  %-*s  %s\n", width, form, text)
	})
	return b.String()
}
