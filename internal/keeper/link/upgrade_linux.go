package link

import (
	"fmt"
	"time"

	"github.com/abide-project/abide/internal/keeper/wire"
)

// upgradeTime is how long an upgrade of the keeper may take. The keeper itself
// gives a proof less.
const upgradeTime = 9 * time.Second

// Upgrade makes the keeper another program, which it proves first, and the next
// engine another. program is a descriptor of this engine's own program file, for
// the way back. After UpgradeDone this process has to end: the keeper then starts
// the new engine. Any other result means that nothing has changed. It waits for the
// answer; an error means that the keeper is gone.
func (l *Link) Upgrade(keeper, engine, exec string, program int) (wire.Upgraded, error) {
	m := wire.Upgrade{Keeper: []byte(keeper), Engine: []byte(engine), Exec: []byte(exec)}
	return l.upgrade("upgrade the keeper", []int{program}, &m)
}

// InCharge tells the keeper that this engine works, and learns how the upgrade went
// that it is the end of: UpgradeNone when there is none.
func (l *Link) InCharge() (wire.Upgraded, error) {
	return l.upgrade("finish the upgrade", nil, &wire.Upgrade{Flags: wire.UpgradeInCharge})
}

func (l *Link) upgrade(what string, fds []int, m *wire.Upgrade) (wire.Upgraded, error) {
	var out wire.Upgraded
	r, err := l.waitFor(what, fds, wire.TypeUpgraded, upgradeTime, m.Append)
	if err == nil {
		if code := out.Decode(r.body); code != wire.CodeNone {
			err = fmt.Errorf("cannot %s: %v", what, code)
		}
	}
	return out, err
}
