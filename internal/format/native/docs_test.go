package native_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/abide-project/abide/internal/format/native"
	"github.com/abide-project/abide/internal/model"
)

//go:generate go test -run TestThePageInDocsIsFresh . -update

const page = "../../../docs/definitions.md"

// keyTable is the part of the page that the table of keys is the source of.
func keyTable() string {
	var b strings.Builder
	var refused []native.Key
	section := "?"
	for _, k := range native.Keys() {
		if k.Refused != "" {
			refused = append(refused, k)
			continue
		}
		table := ""
		if i := strings.LastIndexByte(k.Path, '.'); i >= 0 {
			table = k.Path[:i]
		}
		if k.Path == "rlimits" || k.Path == "operators" || k.Path == "credentials" {
			table = k.Path
		}
		if table != section {
			section = table
			if table == "" {
				b.WriteString("### Above the first table\n\n")
			} else {
				fmt.Fprintf(&b, "\n### [%s]\n\n", table)
			}
			b.WriteString("| key | takes | default | what it is |\n| --- | --- | --- | --- |\n")
		}
		row(&b, leaf(k.Path, table), k)
	}
	b.WriteString("\n### Started anew when changed\n\n" + anew() + "\n")
	b.WriteString("\n### In abide.toml\n\n| key | takes | default | what it is |\n| --- | --- | --- | --- |\n")
	for _, k := range native.ProjectKeys() {
		if k.Refused == "" {
			row(&b, k.Path, k)
		} else {
			k.Path += " (abide.toml)"
			refused = append(refused, k)
		}
	}
	b.WriteString("\n### Refused by this version\n\n| key | what it will be | why it is refused |\n| --- | --- | --- |\n")
	for _, k := range refused {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", k.Path, cell(k.Doc), cell(k.Refused))
	}
	return b.String()
}

// anew lists the keys whose change needs a new process.
func anew() string {
	var list []string
	for _, k := range native.Keys() {
		table, leaf, below := strings.Cut(k.Path, ".")
		if model.ClassOf(k.Path) != model.Restarts {
			continue
		}
		name := "`" + k.Path + "`"
		if below && leaf != "" && model.ClassOf(table) == model.Restarts {
			name = "`[" + table + "]`"
		}
		if !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	return strings.Join(list, ", ") + "."
}

func leaf(path, table string) string {
	if path == table {
		return "NAME"
	}
	return strings.TrimPrefix(path, table+".")
}

func row(b *strings.Builder, name string, k native.Key) {
	standard := k.Default
	switch {
	case standard == "":
		standard = "none"
	case strings.ContainsAny(standard[:1], `"[{0123456789`) && !strings.Contains(standard, "; "), standard == "true", standard == "false":
		standard = "`" + standard + "`"
	}
	fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", name, cell(k.Type), cell(standard), cell(k.Doc))
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

func TestThePageInDocsIsFresh(t *testing.T) {
	const begin, end = "<!-- generated: keys -->\n", "<!-- end generated -->"
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(data), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table of keys", page)
	}
	want := head + begin + keyTable() + end + tail
	if want == string(data) {
		return
	}
	if flag.Lookup("update").Value.String() != "true" {
		t.Fatalf("%s is stale: run go generate ./internal/format/native", page)
	}
	if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

// The examples of the page must be what abide takes.
func TestTheExamplesOfThePageAreValid(t *testing.T) {
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(data), "```toml\n")[1:]
	if len(blocks) < 3 {
		t.Fatalf("the page has %d examples", len(blocks))
	}
	for _, b := range blocks {
		text, _, _ := strings.Cut(b, "```")
		file := "web.toml"
		if strings.Contains(text, "[services.") {
			file = "abide.toml"
		}
		if out := read(file, text); len(out.Diags) > 0 || len(out.Services) == 0 {
			t.Errorf("%v\n%s", out.Diags, text)
		}
	}
}
