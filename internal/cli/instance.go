package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/abide-project/abide/client"
	"github.com/abide-project/abide/internal/control"
)

// instance is one abide: where it runs and where its things are.
type instance struct {
	scope string // "system", "user", "project"; "" for one given by its folder
	uid   int    // whom its folders belong to
	run   string
	state string
	log   string
	root  string // of a project
}

func (i instance) String() string {
	switch i.scope {
	case "system":
		return "the system's abide"
	case "user":
		if i.uid != os.Geteuid() {
			return fmt.Sprintf("the abide of uid %d", i.uid)
		}
		return "your abide"
	case "project":
		return "the project " + i.root
	default:
		return "the abide in " + i.run
	}
}

func systemInstance() instance {
	return instance{scope: "system", uid: 0, run: "/run/abide", state: "/var/lib/abide", log: "/var/log/abide"}
}

// account is whose folders are meant.
type account struct {
	uid    int
	home   string
	ownEnv bool // the XDG variables of our environment are this account's
}

func ownAccount() (account, error) {
	acct := account{uid: os.Geteuid(), home: os.Getenv("HOME"), ownEnv: true}
	if !filepath.IsAbs(acct.home) {
		u, err := user.LookupId(strconv.Itoa(acct.uid))
		if err != nil {
			return acct, failed("set HOME, or choose folders with --run, --state and --log",
				"cannot find the home folder of uid %d: HOME is not set and the account is unknown", acct.uid)
		}
		acct.home = u.HomeDir
	}
	return acct, nil
}

func namedAccount(name string) (account, error) {
	u, err := user.Lookup(name)
	if err != nil {
		if u, err = user.LookupId(name); err != nil {
			return account{}, usage("", "cannot find user %s: no such account", quoteWord(name))
		}
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return account{}, failed("", "cannot use user %s: its uid %q is no number", quoteWord(name), u.Uid)
	}
	return account{uid: uid, home: u.HomeDir, ownEnv: uid == os.Geteuid()}, nil
}

// xdg is a folder of the XDG base directory specification.
func (acct account) xdg(variable, below string) string {
	if dir := os.Getenv(variable); acct.ownEnv && filepath.IsAbs(dir) {
		return filepath.Clean(dir)
	}
	return filepath.Join(acct.home, below)
}

// userInstance is the instance of an account. Its run directory stands in the
// folder that a login made, if one did.
func userInstance(acct account) instance {
	state := filepath.Join(acct.xdg("XDG_STATE_HOME", ".local/state"), "abide")
	run := filepath.Join(state, "run")
	login := filepath.Join("/run/user", strconv.Itoa(acct.uid))
	if uid, ok := ownerOf(login); ok && uid == acct.uid {
		run = filepath.Join(login, "abide")
	}
	return instance{scope: "user", uid: acct.uid, run: run, state: state, log: filepath.Join(state, "log")}
}

// projectInstance stands below the run directory of the one who calls: nothing is
// written into the project.
func projectInstance(acct account, root string) instance {
	sum := sha256.Sum256([]byte(root))
	name := hex.EncodeToString(sum[:8])
	of := userInstance(acct)
	state := filepath.Join(of.state, "projects", name)
	return instance{scope: "project", uid: acct.uid, root: root,
		run: filepath.Join(of.run, "projects", name), state: state, log: filepath.Join(state, "log")}
}

func ownerOf(dir string) (uid int, ok bool) {
	info, err := os.Stat(dir)
	if err != nil || !info.IsDir() {
		return 0, false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(st.Uid), true
}

// findProject walks up from dir to a folder that holds abide.toml, a Procfile or
// a folder abide/ with definitions.
func findProject(dir string) (root string, ok bool) {
	for {
		if isProject(dir) {
			return dir, true
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", false
		}
		dir = parent
	}
}

func isProject(dir string) bool {
	if dir == "/etc/abide" || strings.HasSuffix(dir, "/.config/abide") {
		return false // these hold the definitions of the system and of a user
	}
	for _, name := range []string{"abide.toml", "Procfile"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil && info.Mode().IsRegular() {
			return true
		}
	}
	found, _ := filepath.Glob(filepath.Join(escapeGlob(dir), "abide", "*.toml"))
	return len(found) > 0
}

func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// chosen is the instance that flags and environment name, nil when they name
// none.
func (a *app) chosen() (*instance, error) {
	given := 0
	for _, name := range []string{"run", "user", "system"} {
		if f := a.cmd.Flag(name); f != nil && f.Changed {
			given++
		}
	}
	if given > 1 {
		return nil, usage(helpHint(a.cmd.Name()), "cannot choose an instance: use only one of --run, --user and --system")
	}
	dir := a.run
	if given == 0 {
		dir = os.Getenv("ABIDE_RUN")
	}
	switch {
	case dir != "":
		path, err := filepath.Abs(dir)
		if err != nil {
			return nil, failed("", "cannot use run directory %q: %v", dir, err)
		}
		return &instance{uid: os.Geteuid(), run: path}, nil
	case a.system:
		i := systemInstance()
		return &i, nil
	case a.user != "":
		acct, err := ownAccount()
		if a.user != ownUser {
			acct, err = namedAccount(a.user)
		}
		if err != nil {
			return nil, err
		}
		i := userInstance(acct)
		return &i, nil
	}
	return nil, nil
}

// candidates are the instances to try when none was chosen, in order.
func candidates() []instance {
	var list []instance
	if acct, err := ownAccount(); err == nil {
		if dir, err := os.Getwd(); err == nil {
			if root, ok := findProject(dir); ok {
				list = append(list, projectInstance(acct, root))
			}
		}
		list = append(list, userInstance(acct))
	}
	return append(list, systemInstance())
}

// connect reaches the instance that is meant. Without a choice that is the first
// candidate that lives.
func (a *app) connect() (*client.Client, instance, error) {
	one, err := a.chosen()
	if err != nil {
		return nil, instance{}, err
	}
	if one != nil {
		c, err := client.Dial(one.run)
		return c, *one, withHint(err, *one)
	}
	list := candidates()
	for n, i := range list {
		c, err := client.Dial(i.run)
		var e *control.Error
		if errors.As(err, &e) && e.Code == control.NoDaemon {
			continue
		}
		if err == nil && n > 0 && list[0].scope == "project" {
			fmt.Fprintf(a.stderr, "abide: %s does not run; this is %s\n", list[0], i)
		}
		return c, i, withHint(err, i)
	}
	if list[0].scope == "project" {
		return nil, list[0], &control.Error{Code: control.NoDaemon,
			Message: fmt.Sprintf("cannot reach abide: neither %s runs, nor yours, nor the system's", list[0]), Hint: "abide up"}
	}
	return nil, instance{}, &control.Error{Code: control.NoDaemon,
		Message: "cannot reach abide: no daemon answers, neither yours nor the system's", Hint: hintNoDaemon}
}

const hintNoDaemon = "abide daemon starts one, abide boot has it started at boot, abide up runs a project"

func withHint(err error, i instance) error {
	var e *control.Error
	if !errors.As(err, &e) || e.Hint != "" {
		return err
	}
	switch {
	case e.Code == control.NoDaemon && i.scope == "project":
		e.Hint = "abide up"
	case e.Code == control.NoDaemon:
		e.Hint = hintNoDaemon
	}
	return e
}

// others names further instances that live beside i.
func others(i instance) []string {
	var names []string
	for _, other := range candidates() {
		if other.run == i.run {
			continue
		}
		if c, err := client.Dial(other.run); err == nil {
			c.Close()
			names = append(names, other.String())
		}
	}
	return names
}

// ask connects, calls and closes.
func (a *app) ask(call func(context.Context, *client.Client) error) error {
	c, _, err := a.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	return call(a.cmd.Context(), c)
}
