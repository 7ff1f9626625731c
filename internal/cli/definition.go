package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/abide-project/abide/client"
	"github.com/abide-project/abide/internal/definitions"
	"github.com/abide-project/abide/internal/diag"
	"github.com/abide-project/abide/internal/format/native"
	"github.com/abide-project/abide/internal/model"
)

// finding is a diagnostic in JSON.
type finding struct {
	File     string `json:"file"`
	Line     int    `json:"line"`
	Column   int    `json:"column"`
	Severity string `json:"severity"`
	Code     string `json:"code"`
	Message  string `json:"message"`
	Hint     string `json:"hint"`
}

func (a *app) check(paths []string) error {
	list := definitions.Check(paths)
	if a.json {
		findings := make([]finding, 0, len(list))
		for _, d := range list {
			findings = append(findings, finding{d.Pos.File, d.Pos.Line, d.Pos.Col, d.Severity.String(), d.Code, d.Message, d.Hint})
		}
		if err := a.printJSON(findings); err != nil {
			return err
		}
	} else if err := diag.Render(a.stdout, list, source); err != nil {
		return err
	}
	if list.HasErrors() {
		return exitCode(exitFailed)
	}
	if len(list) == 0 && !a.json {
		fmt.Fprintln(a.stdout, "no findings")
	}
	return nil
}

// maxSource is the largest file whose lines are shown, in bytes.
const maxSource = 1 << 20

// source is the text of a file a diagnostic points into, if it is a plain file
// of sensible size: a FIFO must not make check wait.
func source(file string) []byte {
	info, err := os.Stat(file)
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxSource {
		return nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	return data
}

func (a *app) show(args []string) error {
	if strings.ContainsRune(args[0], '/') || strings.HasSuffix(args[0], ".toml") {
		return a.showPath(args[0])
	}
	return a.ask(func(ctx context.Context, c *client.Client) error {
		text, err := c.Show(ctx, args[0])
		if err == nil {
			_, err = fmt.Fprint(a.stdout, text)
		}
		return err
	})
}

func (a *app) showPath(path string) error {
	if _, err := os.Stat(path); err != nil {
		return failed("", "cannot show %s: %v", path, cause(err))
	}
	root := path
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		root = filepath.Dir(path)
	}
	root, err := filepath.Abs(root)
	if err != nil {
		return failed("", "cannot show %s: %v", path, err)
	}
	set := definitions.Load(definitions.Options{Root: root, Config: []string{path}})
	diag.Render(a.stderr, set.Diags, source)
	var text bytes.Buffer
	for n, name := range sortedNames(set.Services) {
		if n > 0 {
			text.WriteByte('\n')
		}
		if len(set.Services) > 1 {
			fmt.Fprintf(&text, "# %s\n", name)
		}
		text.Write(native.Write(set.Services[name], native.WriteOptions{Origin: true, All: true, Mask: true}))
	}
	if _, err := a.stdout.Write(text.Bytes()); err != nil {
		return err
	}
	if set.Diags.HasErrors() {
		return exitCode(exitFailed)
	}
	return nil
}

// cause is what went wrong, without the path that the message names already.
func cause(err error) error {
	var perr *fs.PathError
	if errors.As(err, &perr) {
		return perr.Err
	}
	return err
}

func (a *app) newDefinition(args []string) error {
	if a.atDash < 0 || a.atDash != 1 {
		return usage("abide new web -- /usr/sbin/nginx -g 'daemon off;'", "cannot write a definition: want one NAME, then -- and the command")
	}
	name, command := args[0], append([]string(nil), args[1:]...)
	if err := validName(name); err != nil {
		return usage("", "%v", err)
	}
	if strings.ContainsRune(command[0], '/') {
		path, err := filepath.Abs(command[0])
		if err != nil {
			return failed("", "cannot use command %q: %v", command[0], err)
		}
		command[0] = path
	}
	dir, i, err := a.definitionFolder()
	if err != nil {
		return err
	}
	path := filepath.Join(dir, name+".toml")
	text := "command = " + tomlList(command) + "\n"
	if err := writeNew(path, text); err != nil {
		return err
	}
	fmt.Fprintf(a.stdout, "%s\n", path)
	if _, err := findProgram(command[0], model.DefaultPath); err != nil {
		a.complain(err.Error(), "")
	}
	next := "abide start " + name
	if c, err := client.Dial(i.run); err != nil {
		next = map[string]string{"system": "abide daemon, or abide boot --write", "user": "abide daemon, or abide boot --user --write", "project": "abide up"}[i.scope]
	} else {
		c.Close()
	}
	fmt.Fprintf(a.stderr, "hint: %s\n", next)
	return nil
}

func validName(name string) error {
	if strings.HasSuffix(name, "@") {
		return model.ValidTemplate(name)
	}
	return model.ValidName(name)
}

// definitionFolder is where new puts a definition: the project's folder abide/ if
// that is what the project is made of, else the system's for root, else the
// user's.
func (a *app) definitionFolder() (string, instance, error) {
	one, err := a.chosen()
	if err != nil {
		return "", instance{}, err
	}
	acct, err := ownAccount()
	if err != nil {
		return "", instance{}, err
	}
	if one != nil && one.scope == "" {
		return "", instance{}, usage("abide new --user NAME -- COMMAND", "cannot write a definition: --run and ABIDE_RUN do not say where definitions stand")
	}
	if one == nil {
		if dir, err := os.Getwd(); err == nil {
			if root, ok := findProject(dir); ok && !exists(filepath.Join(root, "abide.toml")) && !exists(filepath.Join(root, "Procfile")) {
				return filepath.Join(root, "abide"), projectInstance(acct, root), nil
			}
		}
	}
	if a.system || one == nil && acct.uid == 0 {
		return "/etc/abide/services", systemInstance(), nil
	}
	if a.user != "" && a.user != ownUser {
		if acct, err = namedAccount(a.user); err != nil {
			return "", instance{}, err
		}
	}
	return filepath.Join(acct.xdg("XDG_CONFIG_HOME", ".config"), "abide", "services"), userInstance(acct), nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// writeNew writes a file that must not be there yet, whole or not at all.
func writeNew(path, text string) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return notPermitted(err, "cannot make folder %s: %v", dir, cause(err))
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return failed("edit it, or choose another name", "cannot write %s: it is there already", path)
	}
	if err != nil {
		return notPermitted(err, "cannot write %s: %v", path, cause(err))
	}
	_, err = f.WriteString(text)
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		os.Remove(path)
		return failed("", "cannot write %s: %v", path, cause(err))
	}
	return nil
}

// tomlList writes words as a list that abide reads back as they are.
func tomlList(words []string) string {
	var b strings.Builder
	b.WriteByte('[')
	for n, word := range words {
		if n > 0 {
			b.WriteString(", ")
		}
		b.WriteString(tomlString(model.Quote(word)))
	}
	b.WriteByte(']')
	return b.String()
}

// tomlString is a basic string of TOML 1.0.
func tomlString(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// findProgram looks a command up as execvp does. The error is about the command:
// syscall.ENOENT and EACCES tell what is wrong.
func findProgram(command string, path []string) (string, error) {
	if strings.ContainsRune(command, '/') {
		if err := executable(command); err != nil {
			return "", fmt.Errorf("cannot find %s: %w", command, err)
		}
		return command, nil
	}
	reason := error(syscall.ENOENT)
	for _, dir := range path {
		full := filepath.Join(dir, command)
		err := executable(full)
		if err == nil {
			return full, nil
		}
		if errors.Is(err, syscall.EACCES) {
			reason = err
		}
	}
	if errors.Is(reason, syscall.EACCES) {
		return "", fmt.Errorf("cannot run %s: %w", command, reason)
	}
	return "", fmt.Errorf("cannot find %s in %s: %w", command, strings.Join(path, ":"), reason)
}

func executable(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return cause(err)
	case info.IsDir():
		return syscall.EACCES
	case info.Mode()&0o111 == 0:
		return syscall.EACCES
	}
	return nil
}
