package cli

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/google/renameio/v2"

	"github.com/abide-project/abide/internal/control"
	"github.com/abide-project/abide/internal/sys/self"
)

// bootInit is an init that can start abide, and how.
type bootInit struct {
	name string
	// path is where the file goes; the user's is below the home folder, "" if this
	// init starts nothing for users.
	path, userPath string
	mode           os.FileMode
	// line means that path is a file of others in which one line is ours.
	line bool
	text func(abide string, user bool) string
	// more are files beside the first one, below the same folder.
	more []bootFile
	// next is the command that makes use of the file, undo what must precede its
	// removal.
	next, userNext string
	undo, userUndo string
}

// bootFile is one of several files that an init needs.
type bootFile struct {
	name string // relative to the folder of the first file
	mode os.FileMode
	text func(abide string) string
}

var bootInits = []bootInit{
	{name: "systemd", path: "/etc/systemd/system/abide.service", userPath: ".config/systemd/user/abide.service", mode: 0o644, text: systemdUnit,
		next: "systemctl enable --now abide", userNext: "systemctl --user enable --now abide; loginctl enable-linger starts it at boot",
		undo: "systemctl disable abide", userUndo: "systemctl --user disable abide"},
	{name: "openrc", path: "/etc/init.d/abide", mode: 0o755, text: openrcScript,
		next: "rc-update add abide default; rc-service abide start", undo: "rc-update del abide default"},
	{name: "sysvinit", path: "/etc/init.d/abide", mode: 0o755, text: sysvScript,
		next: "update-rc.d abide defaults; /etc/init.d/abide start", undo: "update-rc.d -f abide remove"},
	{name: "runit", path: "/etc/sv/abide/run", mode: 0o755, text: runitScript,
		more: []bootFile{{"finish", 0o755, runitFinish}, {"control/t", 0o755, runitTerm}},
		next: "ln -s /etc/sv/abide /etc/service/", undo: "rm /etc/service/abide"},
	{name: "s6", path: "/etc/s6/abide/run", mode: 0o755, text: s6Script,
		more: []bootFile{{"finish", 0o755, s6Finish}, {"down-signal", 0o644, s6DownSignal}, {"timeout-finish", 0o644, s6FinishTimeout}},
		next: "ln -s /etc/s6/abide /run/service/ && s6-svscanctl -a /run/service", undo: "s6-svunlink /run/service abide"},
	{name: "supervisord", path: "/etc/supervisor/conf.d/abide.conf", mode: 0o644, text: supervisordProgram,
		next: "supervisorctl update", undo: "supervisorctl remove abide"},
	{name: "inittab", path: "/etc/inittab", mode: 0o644, line: true, text: inittabLine,
		next: "telinit q", undo: ""},
	{name: "launchd", path: "/Library/LaunchDaemons/org.abide.abide.plist", userPath: "Library/LaunchAgents/org.abide.abide.plist", mode: 0o644, text: launchdPlist,
		next: "launchctl bootstrap system /Library/LaunchDaemons/org.abide.abide.plist", userNext: "launchctl bootstrap gui/$(id -u) ~/Library/LaunchAgents/org.abide.abide.plist",
		undo: "launchctl bootout system/org.abide.abide", userUndo: "launchctl bootout gui/$(id -u)/org.abide.abide"},
	{name: "cron", path: "/etc/cron.d/abide", mode: 0o644, text: cronLine},
}

func bootInitList() string {
	names := make([]string, len(bootInits))
	for n := range bootInits {
		names[n] = bootInits[n].name
	}
	return strings.Join(names, ", ")
}

func (a *app) boot([]string) error {
	if a.write && a.remove {
		return usage(helpHint("boot"), "cannot boot: use only one of --write and --remove")
	}
	name := a.bootInit
	if name == "" {
		name = detectInit()
	}
	var b *bootInit
	for n := range bootInits {
		if bootInits[n].name == name {
			b = &bootInits[n]
		}
	}
	if b == nil {
		return usage("abide boot --init systemd", "cannot write for init %s: want one of %s", quoteWord(name), bootInitList())
	}
	if a.user != "" && a.user != ownUser || a.run != "" {
		return usage(helpHint("boot"), "cannot boot: it is for the system or, with --user, for oneself")
	}
	forUser := a.user != "" || os.Geteuid() != 0 && !a.system
	abide, err := self.Path()
	if err != nil {
		return err
	}
	text := b.text(abide, forUser)
	if !a.write && !a.remove {
		_, err := fmt.Fprint(a.stdout, b.printed(abide, text))
		return err
	}
	path, next, undo := b.path, b.next, b.undo
	if forUser {
		if b.userPath == "" {
			return userRefusal(b, abide)
		}
		acct, err := ownAccount()
		if err != nil {
			return err
		}
		path, next, undo = filepath.Join(acct.home, b.userPath), b.userNext, b.userUndo
	}
	if a.remove {
		if undo != "" {
			next = undo
		}
		err = removeBoot(path, text, b)
	} else {
		err = installBoot(path, text, abide, b)
	}
	if err != nil {
		return err
	}
	fmt.Fprintln(a.stdout, path)
	if next != "" {
		fmt.Fprintf(a.stderr, "hint: %s\n", next)
	}
	return nil
}

func userRefusal(b *bootInit, abide string) error {
	hint := "abide boot --init cron --user prints a line for a crontab"
	if b.name == "cron" {
		hint = "(crontab -l; " + shellQuote(abide) + " boot --init cron --user) | crontab -"
	}
	return &control.Error{Code: control.Usage, Message: fmt.Sprintf("cannot write for the user's %s: it has no file of its own for that", b.name), Hint: hint}
}

// detectInit names the init that rules here.
func detectInit() string {
	switch {
	case runtime.GOOS == "darwin":
		return "launchd"
	case exists("/run/systemd/system"):
		return "systemd"
	case exists("/run/openrc"):
		return "openrc"
	case exists("/run/runit"), exists("/etc/runit/2"):
		return "runit"
	case exists("/etc/inittab"):
		return "inittab"
	case exists("/etc/init.d"):
		return "sysvinit"
	default:
		return "cron"
	}
}

// printed is all that an init needs. Several files stand below their names.
func (b *bootInit) printed(abide, text string) string {
	if len(b.more) == 0 {
		return text
	}
	var all strings.Builder
	fmt.Fprintf(&all, "==> %s <==\n%s", b.path, text)
	for _, f := range b.more {
		fmt.Fprintf(&all, "\n==> %s <==\n%s", filepath.Join(filepath.Dir(b.path), f.name), f.text(abide))
	}
	return all.String()
}

// isOurs tells abide's own file from that of somebody else.
func isOurs(data []byte) bool { return bytes.Contains(data, []byte("daemon --attach")) }

func installBoot(path, text, abide string, b *bootInit) error {
	old, err := os.ReadFile(path)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return notPermitted(err, "cannot read %s: %v", path, cause(err))
	case b.line && bytes.Contains(old, []byte(text)):
		return nil
	case b.line:
		if len(old) > 0 && old[len(old)-1] != '\n' {
			old = append(old, '\n')
		}
		return replace(path, append(old, text...), b.mode)
	case err == nil && string(old) != text && !isOurs(old):
		return othersFile(path)
	}
	for _, f := range b.more {
		beside, text := filepath.Join(filepath.Dir(path), f.name), f.text(abide)
		if there, e := os.ReadFile(beside); e == nil && err != nil && string(there) != text {
			return othersFile(beside)
		}
		if err := replace(beside, []byte(text), f.mode); err != nil {
			return err
		}
	}
	// The one that makes the folder a service comes last.
	return replace(path, []byte(text), b.mode)
}

func othersFile(path string) error {
	return failed("move it away first", "cannot write %s: it is there already and is not abide's", path)
}

func removeBoot(path, text string, b *bootInit) error {
	old, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return notPermitted(err, "cannot read %s: %v", path, cause(err))
	case b.line:
		return replace(path, bytes.ReplaceAll(old, []byte(text), nil), 0o644)
	case !isOurs(old):
		return failed("", "cannot remove %s: it is not abide's", path)
	}
	files := []string{path}
	for _, f := range b.more {
		files = append(files, filepath.Join(filepath.Dir(path), f.name))
	}
	for _, file := range files {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return notPermitted(err, "cannot remove %s: %v", file, cause(err))
		}
		// A folder of our own making goes with the last file in it; os.Remove
		// leaves one that holds something.
		if dir := filepath.Dir(file); dir != filepath.Dir(path) {
			_ = os.Remove(dir)
		}
	}
	return nil
}

// replace writes a file so that a power cut leaves the old or the new one.
func replace(path string, data []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return notPermitted(err, "cannot make folder %s: %v", filepath.Dir(path), cause(err))
	}
	if info, err := os.Stat(path); err == nil && mode&0o111 == 0 {
		mode = info.Mode().Perm()
	}
	if err := renameio.WriteFile(path, data, mode, renameio.IgnoreUmask()); err != nil {
		return notPermitted(err, "cannot write %s: %v", path, cause(err))
	}
	return nil
}

// shellQuote quotes a word for sh unless it is plain.
func shellQuote(word string) string {
	if quoteWord(strings.ReplaceAll(word, "/", "")) == strings.ReplaceAll(word, "/", "") {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

func xmlText(text string) string {
	var b strings.Builder
	xml.EscapeText(&b, []byte(text))
	return b.String()
}

// systemdQuote quotes a path for ExecStart=, systemd.service(5): specifiers,
// variables and blanks are taken literally.
func systemdQuote(path string) string {
	path = strings.NewReplacer(`%`, `%%`, `$`, `$$`, `\`, `\\`, `"`, `\"`).Replace(path)
	if strings.ContainsAny(path, " \t") {
		return `"` + path + `"`
	}
	return path
}
