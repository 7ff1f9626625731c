package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/abide-project/abide/internal/contain"
	"github.com/abide-project/abide/internal/engine"
	"github.com/abide-project/abide/internal/keeper/link"
	"github.com/abide-project/abide/internal/state"
	"github.com/abide-project/abide/internal/sys/proctree"
)

// evidence is what can be learnt of runs without the keeper's records, as the engine's
// port.
type evidence struct {
	run    string
	mirror *state.Mirror // nil: there is none of this boot
	groups *contain.Manager
}

func (p evidence) Mirror() map[string]engine.PastRun {
	out := map[string]engine.PastRun{}
	if p.mirror != nil {
		for _, r := range p.mirror.Runs {
			out[r.Name] = engine.PastRun{Run: r.Run, Pid: r.Pid, Start: r.Start, Inode: r.Inode}
		}
	}
	return out
}

func (p evidence) Alive(r engine.PastRun) bool {
	return isProcess(state.Process{Pid: r.Pid, Start: r.Start, Inode: r.Inode})
}

// Traces looks for control groups and log pipes of runs.
func (p evidence) Traces() bool {
	if p.groups.Traces(p.mirror == nil) {
		return true
	}
	for _, pattern := range []string{"*.out", "*.err"} {
		if found, _ := filepath.Glob(filepath.Join(p.run, "services", "*", pattern)); len(found) > 0 {
			return true
		}
	}
	return false
}

// startTick is the unit of start times in /proc in nanoseconds: USER_HZ is 100 on
// every machine Go runs Linux on.
const startTick = 1_000_000_000 / 100

func (p evidence) Survey(names []string) engine.Survey {
	seen := p.groups.Survey(names)
	out := engine.Survey{Found: map[string][]engine.FoundProcess{}, Err: seen.Err}
	for _, f := range seen.Found {
		out.Found[f.Name] = append(out.Found[f.Name], engine.FoundProcess{
			PastRun: engine.PastRun{Run: f.Run, Pid: f.Pid, Start: f.Start}, Comm: f.Comm, Leader: f.Leader, Mark: f.Mark,
		})
	}
	for _, h := range seen.Hidden {
		// What lived when the mirror was written and is not in it is not ours. A start
		// time is a hundredth of a second early at most.
		if p.mirror != nil && int64(h.Start+1)*startTick < p.mirror.Written {
			continue
		}
		out.Hidden = append(out.Hidden, engine.HiddenProcess{Pid: h.Pid, Comm: h.Comm, May: mayBe(h.UIDs, os.Geteuid())})
	}
	return out
}

// mayBe returns a function that says whether a process of these uids can be what a
// service became that abide, as the user own, started for a user: root becomes
// anybody, others stay who they are.
func mayBe(uids [4]int, own int) func(uid int) bool {
	return func(uid int) bool {
		if own == 0 && uid == 0 {
			return true
		}
		for _, u := range uids {
			if u == uid || u < 0 {
				return true
			}
		}
		return false
	}
}

// idPage is where engine.state keeps the id of its run directory.
const idPage = "/id"

// settleID makes sure that the run directory has the id that its services carry,
// also after the file was lost: engine.state knows it, or the mirror does; known says
// so. Otherwise it is the one that the keeper has.
func settleID(run *state.Run, snapshot *state.Snapshot, mirror *state.Mirror, keepers string) (known, restored bool, err error) {
	id := string(snapshot.Get(idPage))
	if id == "" && mirror != nil {
		id = mirror.ID
	}
	known = id != ""
	if !known {
		id = keepers
	}
	if restored, err = run.RestoreID(id); err != nil {
		return known, false, err
	}
	return known, restored, snapshot.Put(idPage, []byte(run.ID()))
}

// lookForID finds the id of a run directory that has a new one, when neither
// engine.state nor the mirror knows the old one but something hints at a past.
func lookForID(run *state.Run, snapshot *state.Snapshot, groups *contain.Manager) (restored bool, err error) {
	if !(evidence{run: run.Path(), groups: groups}).Traces() {
		return false, nil
	}
	if restored, err = run.RestoreID(groups.FormerID()); restored {
		err = snapshot.Put(idPage, []byte(run.ID()))
	}
	return restored, err
}

// keepMirror returns the writer of the mirror, nil when there is no state folder.
func keepMirror(dir *state.Dir, boot, runDir, id string, keeper int, say func(string)) *state.MirrorWriter {
	if dir == nil {
		return nil
	}
	head := state.Mirror{Boot: boot, RunDir: runDir, ID: id, Keeper: keeperProcess(keeper)}
	return state.NewMirrorWriter(dir, head, boottime, nameProcess, func(err error) {
		say(fmt.Sprintf("Cannot keep the mirror: %v; if the run directory is lost, what lives is looked for among all processes", err))
	})
}

func keeperProcess(pid int) state.Process {
	p := state.Process{Pid: pid}
	if stat, err := proctree.ReadStat("/proc", pid); err == nil {
		p.Start = stat.Start
	}
	return p
}

// recordsLost tells whether runs may live that this keeper has no record of. Once
// an engine of this keeper has written a mirror, all of them are found.
func recordsLost(w link.Welcome, mirror *state.Mirror) bool {
	if mirror != nil && mirror.Keeper.Pid == w.KeeperPid && mirror.Keeper == keeperProcess(w.KeeperPid) {
		return false
	}
	return w.RecordsNew || w.RecordsSet || w.RecordsDamaged
}

// readMirror says what cannot be used and goes on without.
func readMirror(dir *state.Dir, boot, run string, say func(string)) *state.Mirror {
	if dir == nil {
		return nil
	}
	m, err := dir.ReadMirror(boot, run)
	if err != nil {
		say(capital(err))
	}
	return m
}
