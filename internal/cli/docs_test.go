package cli

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

//go:generate go test -run Fresh . -update

var update = flag.Bool("update", false, "write the generated documents and golden files")

// exitCodes is the table of docs/cli.md and of the manual page.
var exitCodes = [][2]string{
	{"0", "done"},
	{"1", "it failed"},
	{"2", "wrong usage"},
	{"3", "not running: status of named services, finished tasks excepted; without names, one is not as it is wanted"},
	{"4", "unknown service"},
	{"5", "not permitted"},
	{"6", "no daemon answers"},
	{"7", "waited too long; the work goes on"},
	{"125", "run, up, init: abide itself failed"},
	{"126", "run: the command is no program"},
	{"127", "run: the command was not found"},
}

const whichInstance = `Which instance is meant: --run DIR, else the environment variable ABIDE_RUN, else the project of
the working directory if it runs, else one's own instance, else the system's. --user and --system choose.`

func TestManualPageIsFresh(t *testing.T) { fresh(t, "../../man/abide.1", manual) }

func TestCommandLineReferenceIsFresh(t *testing.T) { fresh(t, "../../docs/cli.md", markdown) }

func fresh(t *testing.T, path string, write func(io.Writer)) {
	t.Helper()
	var want bytes.Buffer
	write(&want)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Fatalf("%s is stale: run go test ./internal/cli -update", path)
	}
}

func markdown(w io.Writer) {
	fmt.Fprintf(w, "# The command line\n\nGenerated from the table of verbs in `internal/cli`. %s\n\n%s\n", tagline, whichInstance)
	fmt.Fprintf(w, "\nErrors read `abide: cannot VERB OBJECT: reason`, then `hint:` with the next command to run. With `--json` they are\n`{\"error\":{\"code\",\"message\",\"hint\"}}` on the standard error, as in the API (`openapi.json`).\n")
	fmt.Fprintf(w, "\n## Exit codes\n\n| code | meaning |\n| --- | --- |\n")
	for _, c := range exitCodes {
		fmt.Fprintf(w, "| %s | %s |\n", c[0], c[1])
	}
	fmt.Fprintf(w, "\n## Flags of every verb\n\n%s", flagTable(globalSet()))
	for _, group := range groups {
		fmt.Fprintf(w, "\n## %s\n", group)
		for _, v := range verbs() {
			if v.group != group {
				continue
			}
			fmt.Fprintf(w, "\n### %s\n\n    %s\n\n%s", v.name, usageLine(v), sentence(v.summary))
			if v.long != "" {
				fmt.Fprintf(w, " %s", v.long)
			}
			fmt.Fprint(w, "\n\n")
			if f := verbSet(v); f.HasFlags() {
				fmt.Fprintf(w, "%s\n", flagTable(f))
			}
			fmt.Fprintf(w, "Example: `%s`\n", v.example)
		}
	}
}

func flagTable(set *pflag.FlagSet) string {
	var b strings.Builder
	b.WriteString("| flag | |\n| --- | --- |\n")
	set.VisitAll(func(f *pflag.Flag) {
		form, text := flagForm(f)
		fmt.Fprintf(&b, "| `%s` | %s |\n", form, text)
	})
	return b.String()
}

func manual(w io.Writer) {
	fmt.Fprint(w, ".\\\" Generated from the table of verbs in internal/cli.\n.TH ABIDE 1\n.SH NAME\nabide \\- run programs and keep them running\n")
	fmt.Fprint(w, ".SH SYNOPSIS\n.B abide\n.RI [ VERB \" [\" FLAGS \"] [\" NAME... ]]\n")
	fmt.Fprintf(w, ".SH DESCRIPTION\n%s\nWithout a verb it shows the status of all services.\n.PP\n%s\n", roff(tagline), roff(whichInstance))
	fmt.Fprint(w, ".SH FLAGS OF EVERY VERB\n")
	manualFlags(w, globalSet())
	for _, group := range groups {
		fmt.Fprintf(w, ".SH %s\n", strings.ToUpper(group))
		for _, v := range verbs() {
			if v.group != group {
				continue
			}
			fmt.Fprintf(w, ".SS %s\n%s\n", roff(usageLine(v)), roff(sentence(v.summary)))
			if v.long != "" {
				fmt.Fprintf(w, "%s\n", roff(v.long))
			}
			manualFlags(w, verbSet(v))
			fmt.Fprintf(w, ".PP\nExample:\n.PP\n.RS\n.nf\n%s\n.fi\n.RE\n", roff(v.example))
		}
	}
	fmt.Fprint(w, ".SH EXIT STATUS\n")
	for _, c := range exitCodes {
		fmt.Fprintf(w, ".TP\n.B %s\n%s\n", c[0], roff(c[1]))
	}
	fmt.Fprint(w, ".SH FILES\n.TP\n.I /etc/abide/services\ndefinitions of the system, NAME.toml\n.TP\n.I ~/.config/abide/services\ndefinitions of a user\n"+
		".TP\n.I /run/abide, /run/user/UID/abide\nthe run directory, with the control socket\n.TP\n.I /var/log/abide, ~/.local/state/abide/log\nlogs\n")
}

func manualFlags(w io.Writer, set *pflag.FlagSet) {
	set.VisitAll(func(f *pflag.Flag) {
		form, text := flagForm(f)
		fmt.Fprintf(w, ".TP\n.B %s\n%s\n", roff(form), roff(text))
	})
}

// roff escapes text for a manual page, groff_man(7).
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)
	lines := strings.Split(text, "\n")
	for n, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[n] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}

func TestEveryVerbHasAnExampleOfItself(t *testing.T) {
	seen := map[string]bool{}
	for _, v := range verbs() {
		if !strings.HasPrefix(v.example, "abide "+v.name) {
			t.Errorf("%s: the example is %q", v.name, v.example)
		}
		if v.run == nil || v.summary == "" || strings.HasSuffix(v.summary, ".") {
			t.Errorf("%s: incomplete", v.name)
		}
		for _, name := range append([]string{v.name}, v.aliases...) {
			if seen[name] {
				t.Errorf("%s stands twice", name)
			}
			seen[name] = true
		}
	}
}
