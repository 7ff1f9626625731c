//go:build linux

package keeper

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/abide-project/abide/internal/keeper/link"
)

// BenchmarkRespawn is one service that ends at once, started again and again:
// the whole way from exit to exit, with what it costs the keeper itself.
func BenchmarkRespawn(b *testing.B) {
	r := newRig(b)
	r.start()
	e := r.connected()
	block := r.program("short", tinyProgram(b, r.dir))
	before := processorTime(b, r.keeper.Process.Pid)
	b.ResetTimer()
	for run := uint64(1); b.Loop(); run++ {
		if _, err := e.Spawn(&link.SpawnArgs{Name: "short", Run: run, AckRun: run - 1, CgroupFD: -1, Program: block}); err != nil {
			b.Fatal(err)
		}
		next(e, e.spawned)
		next(e, e.exited)
	}
	b.ReportMetric(float64(processorTime(b, r.keeper.Process.Pid)-before)*1e4/float64(b.N), "keeper-us/op")
}

// processorTime is the time a process has used, in hundredths of a second.
func processorTime(b *testing.B, pid int) int {
	b.Helper()
	stat := string(must(os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")))
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	return must(strconv.Atoi(fields[11])) + must(strconv.Atoi(fields[12]))
}
