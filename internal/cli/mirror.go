package cli

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/abide-project/abide/internal/state"
)

// mirrored tells whether a keeper serves an instance whose run directory says
// nothing, and its pid. A run directory that was wiped is made again a moment
// later; until then the mirror in the state folder names the keeper, and a second
// one beside it would be a second copy of everything.
func mirrored(i instance) (pid int, held bool) {
	if _, err := os.Lstat(filepath.Join(i.run, "lock")); !errors.Is(err, fs.ErrNotExist) {
		return 0, false // nobody holds it
	}
	m, err := state.FindMirror(i.state, state.BootKey(), i.run)
	if err != nil || m == nil || m.Keeper.Start == 0 || !lives(m.Keeper.Pid, m.Keeper.Start) {
		return 0, false
	}
	return m.Keeper.Pid, true
}
