package arch

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const module = "github.com/abide-project/abide"

// list runs go list for Linux and returns its lines.
func list(t *testing.T, args ...string) []string {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list"}, args...)...)
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "GOOS=linux", "CGO_ENABLED=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %v: %v\n%s", args, err, stderr.Bytes())
	}
	var lines []string
	scan := bufio.NewScanner(bytes.NewReader(out))
	for scan.Scan() {
		lines = append(lines, scan.Text())
	}
	return lines
}

// A pure package may use time.Duration or fmt, which link syscall and os below;
// what counts is what its own code, and ours below it, imports.
func TestPurePackagesImportPureStandardLibraryOnly(t *testing.T) {
	for _, pkg := range Pure {
		for _, line := range list(t, "-deps", "-f", `{{.ImportPath}} {{join .Imports " "}}`, module+"/"+pkg) {
			fields := strings.Fields(line)
			if !strings.HasPrefix(fields[0], module) {
				continue
			}
			for _, imp := range fields[1:] {
				if reason, bad := impure[imp]; bad {
					t.Errorf("%s must be pure but %s imports %s: %s", pkg, fields[0], imp, reason)
				}
			}
		}
	}
}

func TestKeeperLinksNextToNothing(t *testing.T) {
	for _, dep := range list(t, "-deps", module+"/cmd/abide-keeper") {
		if reason, bad := keeperNever[dep]; bad {
			t.Errorf("abide-keeper links %s: %s", dep, reason)
		}
		if strings.Contains(dep, ".") && !strings.HasPrefix(dep, module) {
			t.Errorf("abide-keeper links the module package %s; it may import syscall and our own packages only", dep)
		}
	}
}

func TestImportRule(t *testing.T) {
	for _, line := range list(t, "-f", `{{.ImportPath}} {{join .Imports " "}}`, module+"/...") {
		fields := strings.Fields(line)
		from := strings.TrimPrefix(fields[0], module+"/")
		for _, imp := range fields[1:] {
			to, ours := strings.CutPrefix(imp, module+"/")
			if !ours {
				if imp == "os/exec" && !allowed(from, mayExec) {
					t.Errorf("%s imports os/exec; only %v may: programs are run by the keeper", from, mayExec)
				}
				continue
			}
			for _, rule := range rules {
				if under(from, rule.From) && under(to, rule.To) && !allowed(from, rule.Except) && !sameUnit(from, to, rule) {
					t.Errorf("%s imports %s: %s", from, to, rule.Why)
				}
			}
		}
	}
}

func TestEveryPackageHasOneDocComment(t *testing.T) {
	for _, line := range list(t, "-f", `{{.ImportPath}}|{{.Dir}}|{{.Doc}}`, module+"/internal/...", module+"/client/...", module+"/cmd/...") {
		parts := strings.SplitN(line, "|", 3)
		if parts[2] == "" && hasNonTestGo(t, parts[1]) {
			t.Errorf("%s has no package comment", parts[0])
		}
	}
}

func hasNonTestGo(t *testing.T, dir string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !strings.HasSuffix(f, "_test.go") {
			return true
		}
	}
	return false
}

func under(pkg, prefix string) bool {
	return pkg == prefix || strings.HasPrefix(pkg, prefix+"/")
}

func allowed(pkg string, prefixes []string) bool {
	for _, p := range prefixes {
		if under(pkg, p) {
			return true
		}
	}
	return false
}

// sameUnit lets a folder use its own sub-folders where a rule keeps siblings apart.
func sameUnit(from, to string, rule Rule) bool {
	return rule.Siblings && (under(to, from) || under(from, to))
}
