package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRatiosAreToTheFloorAndToTheBestPeer(t *testing.T) {
	var r report
	m := r.measure("restart", "ms", "soon")
	for who, value := range map[string]float64{"C": 2, "abide": 3, "runit": 6, "s6": 1000} {
		m.add(who, value)
	}
	r.finish([]string{"C", "abide"})
	if row := m.row("abide"); row.XFloor != 1.5 || row.XPeer != 0.5 {
		t.Errorf("abide is %v x C and %v x the best peer, want 1.5 and 0.5", row.XFloor, row.XPeer)
	}
	if m2 := r.measure("restart", "ms", ""); m2 != m {
		t.Error("a second look at a measure made a new one")
	}
}

func TestBestPeerOfAThroughputIsTheHighest(t *testing.T) {
	var r report
	m := r.measure("log", "lines/s", "")
	m.HigherBetter = true
	m.add("s6-log", 10)
	m.add("svlogd", 5)
	m.add("abide", 20)
	r.finish([]string{"C", "abide"})
	if row := m.row("abide"); row.XPeer != 2 || row.XFloor != 0 {
		t.Errorf("abide is %v x the best peer and %v x C, want 2 and no ratio", row.XPeer, row.XFloor)
	}
}

func TestReportIsPrintedAndSaved(t *testing.T) {
	var r report
	r.measure("restart", "ms", "<= 2 x C").add("C", 0.4142)
	r.fault("cannot start runit: not installed")
	r.finish([]string{"C", "abide"})
	var text bytes.Buffer
	r.print(&text)
	for _, want := range []string{"restart [ms]   to reach: <= 2 x C", "0.41", "did not work: cannot start runit"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
	path := filepath.Join(t.TempDir(), "out", "bench.json")
	if err := r.save(path); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var back report
	if err := json.Unmarshal(data, &back); err != nil || back.Measures[0].Rows[0].P50 != 0.4142 {
		t.Errorf("read back %+v, %v", back, err)
	}
}
