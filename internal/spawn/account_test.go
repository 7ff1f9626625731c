package spawn

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/abide-project/abide/internal/model"
)

func accounts(t *testing.T, passwd, group string) (*Accounts, string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"passwd": passwd, "group": group} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return NewAccounts(filepath.Join(dir, "passwd"), filepath.Join(dir, "group")), dir
}

const (
	passwdText = "root:x:0:0:root:/root:/bin/sh\nshop:x:998:997:Shop:/srv/shop:\n7:x:500:500::/:\n"
	groupText  = "root:x:0:\nshop:x:997:\nweb:x:33:shop,other\nadm:x:4:shop\nlate:x:5:nobody\n"
)

func TestIdentity(t *testing.T) {
	db, _ := accounts(t, passwdText, groupText)
	cases := []struct {
		name     string
		svc      model.Service
		uid, gid int
		groups   []int
		set      bool
	}{
		{"nobody else", model.Service{}, 0, 0, nil, false},
		{"by name", model.Service{User: "shop"}, 998, 997, []int{997, 33, 4}, true},
		{"by number", model.Service{User: "998"}, 998, 997, []int{997, 33, 4}, true},
		{"a name of digits is a name first", model.Service{User: "7"}, 500, 500, []int{500}, true},
		{"another group", model.Service{User: "shop", Group: "web"}, 998, 33, []int{33, 4}, true},
		{"a group only", model.Service{Group: "web"}, 0, 33, nil, false},
		{"groups given", model.Service{User: "shop", Groups: []string{"adm", "77"}, GroupsSet: true}, 998, 997, []int{4, 77}, true},
		{"no groups", model.Service{User: "shop", GroupsSet: true}, 998, 997, nil, true},
		{"numbers only", model.Service{User: "4000", Group: "4001"}, 4000, 4001, []int{4001}, true},
	}
	for _, tc := range cases {
		id, err := (&Compiler{Accounts: db}).identity(&tc.svc)
		if err != nil || id.uid != tc.uid || id.gid != tc.gid || !slices.Equal(id.groups, tc.groups) || id.setGroups != tc.set {
			t.Errorf("%s: %+v, %v", tc.name, id, err)
		}
	}
}

func TestAccountsAreReadAgainWhenTheyChange(t *testing.T) {
	db, dir := accounts(t, passwdText, groupText)
	c := &Compiler{Accounts: db}
	if _, _, err := c.Account(&model.Service{User: "new"}); err == nil {
		t.Fatal("found before it exists")
	}
	if err := os.WriteFile(filepath.Join(dir, "passwd"), []byte(passwdText+"new:x:600:600::/:\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if uid, gid, err := c.Account(&model.Service{User: "new"}); err != nil || uid != 600 || gid != 600 {
		t.Errorf("%d, %d, %v", uid, gid, err)
	}
}

func TestContainerWithoutAccountsRunsNumbers(t *testing.T) {
	c := &Compiler{Accounts: NewAccounts("/nowhere/passwd", "/nowhere/group"), UID: 0}
	if uid, gid, err := c.Account(&model.Service{User: "1000", Group: "1000"}); err != nil || uid != 1000 || gid != 1000 {
		t.Errorf("%d, %d, %v", uid, gid, err)
	}
	if uid, _, err := c.Account(&model.Service{}); err != nil || uid != 0 {
		t.Errorf("own: %d, %v", uid, err)
	}
}
