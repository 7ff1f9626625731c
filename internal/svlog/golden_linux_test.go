package svlog

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/abide-project/abide/internal/golden"
)

// TestJournalOfVersion1IsRead opens the journal of the first abide, in which
// talker has begun a line.
func TestJournalOfVersion1IsRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), journalFile)
	if err := os.WriteFile(path, golden.Read(t, "testdata/v1/log.journal.gz", 12587008), 0o600); err != nil {
		t.Fatal(err)
	}
	j, err := mapJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	defer j.close()
	type logged struct{ offset, limit uint64 }
	sinks, runs := map[string]logged{}, map[string]uint64{}
	j.recover(func(_ uint32, rec *runRec) {
		runs[rec.text()] = rec.number.Load()
		mid := rec.mid[0].Load() != 0
		if mid != (rec.text() == "talker") || rec.mid[1].Load() != 0 {
			t.Errorf("%s stands within a line: %v", rec.text(), mid)
		}
	}, func(_ uint32, rec *sinkRec) {
		sinks[rec.text()] = logged{rec.place.offset.Load(), rec.limit.Load()}
	})
	if runs["talker"] != 1 {
		t.Errorf("runs %v", runs)
	}
	if s := sinks["/tmp/golden/log/talker/current"]; s.offset != 124 || s.limit != 16<<20 {
		t.Errorf("logs %v", sinks)
	}
}
