package spawn

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/moby/sys/user"

	"github.com/abide-project/abide/internal/model"
)

// Accounts is the account database: passwd and group files, read again when
// they change. It knows what those files say and asks no network.
type Accounts struct {
	passwd, group string

	mu      sync.Mutex
	stamps  [2]stamp
	users   []user.User
	groups  []user.Group
	problem error
}

// stamp tells whether a file is still the one that was read.
type stamp struct {
	size     int64
	modified time.Time
	inode    uint64
}

// NewAccounts returns the accounts of a passwd and a group file.
func NewAccounts(passwd, group string) *Accounts {
	return &Accounts{passwd: passwd, group: group}
}

// SystemAccounts returns the accounts of /etc/passwd and /etc/group.
func SystemAccounts() *Accounts { return NewAccounts("/etc/passwd", "/etc/group") }

// refresh reads what has changed. A missing file has no accounts: a container
// may have none and still run programs by number.
func (a *Accounts) refresh() error {
	now := [2]stamp{stampOf(a.passwd), stampOf(a.group)}
	if now == a.stamps {
		return a.problem
	}
	a.stamps, a.users, a.groups, a.problem = now, nil, nil, nil
	if now[0] != (stamp{}) {
		if a.users, a.problem = user.ParsePasswdFile(a.passwd); a.problem != nil {
			a.problem = fmt.Errorf("cannot read accounts from %s: %w", a.passwd, a.problem)
			return a.problem
		}
	}
	if now[1] != (stamp{}) {
		if a.groups, a.problem = user.ParseGroupFile(a.group); a.problem != nil {
			a.problem = fmt.Errorf("cannot read groups from %s: %w", a.group, a.problem)
		}
	}
	return a.problem
}

func stampOf(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	return stamp{size: info.Size(), modified: info.ModTime(), inode: inodeOf(info)}
}

// maxID is the largest id: the one above it means "unchanged" to the kernel.
const maxID = 1<<32 - 2

func number(text string) (int, bool) {
	n, err := strconv.ParseUint(text, 10, 32)
	return int(n), err == nil && n <= maxID
}

// user finds an account by name or number. A number needs no account.
func (a *Accounts) user(text string) (u user.User, known bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.refresh(); err != nil {
		return user.User{}, false, err
	}
	for _, u := range a.users {
		if u.Name == text {
			return u, true, nil
		}
	}
	id, ok := number(text)
	if !ok {
		return user.User{}, false, fmt.Errorf("cannot use user %q: there is no such account in %s", text, a.passwd)
	}
	for _, u := range a.users {
		if u.Uid == id {
			return u, true, nil
		}
	}
	return user.User{Uid: id, Gid: -1}, false, nil
}

func (a *Accounts) groupID(text string) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.refresh(); err != nil {
		return 0, err
	}
	for _, g := range a.groups {
		if g.Name == text {
			return g.Gid, nil
		}
	}
	if id, ok := number(text); ok {
		return id, nil
	}
	return 0, fmt.Errorf("cannot use group %q: there is no such group in %s", text, a.group)
}

// memberships lists the supplementary groups of an account, its own group among
// them, as initgroups(3) does.
func (a *Accounts) memberships(name string, gid int) []int {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := []int{gid}
	for _, g := range a.groups {
		if name != "" && slices.Contains(g.List, name) && !slices.Contains(list, g.Gid) {
			list = append(list, g.Gid)
		}
	}
	return list
}

// identity is who a service runs as.
type identity struct {
	uid, gid  int
	user      string // as shown: the account's name, or the number
	group     string
	groups    []int
	setGroups bool
	account   user.User
	known     bool // the user has an account
}

func (c *Compiler) identity(svc *model.Service) (identity, error) {
	id := identity{uid: c.UID, gid: c.GID}
	name := svc.User
	if name == "" {
		name = strconv.Itoa(c.UID)
	}
	account, known, err := c.Accounts.user(name)
	if err != nil {
		return identity{}, err
	}
	id.account, id.known, id.uid = account, known, account.Uid
	id.user = account.Name
	if !known {
		id.user = name
	}
	if svc.User != "" {
		id.gid = account.Gid
	}
	if svc.Group != "" {
		if id.gid, err = c.Accounts.groupID(svc.Group); err != nil {
			return identity{}, err
		}
		id.group = svc.Group
	}
	if id.gid < 0 {
		return identity{}, fmt.Errorf("cannot use user %s: the number has no account, so group must be given too", svc.User)
	}
	switch {
	case svc.GroupsSet:
		id.setGroups = true
		for _, g := range svc.Groups {
			gid, err := c.Accounts.groupID(g)
			if err != nil {
				return identity{}, err
			}
			id.groups = append(id.groups, gid)
		}
	case svc.User != "":
		id.setGroups = true
		id.groups = c.Accounts.memberships(account.Name, id.gid)
	}
	if !svc.GroupsSet && c.UID != 0 && id.uid == c.UID && id.gid == c.GID {
		id.setGroups = false // a plain user keeps what it has
	}
	return id, nil
}
