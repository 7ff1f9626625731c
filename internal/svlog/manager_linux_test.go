package svlog

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/abide-project/abide/internal/model"
)

func TestSmoke(t *testing.T) {
	dir := t.TempDir()
	m, err := Open(Options{RunDir: dir + "/run", LogDir: dir + "/log", Report: func(s, x string) { t.Log(s, x) }})
	if err != nil {
		t.Fatal(err)
	}
	spec := &model.Log{Stdout: []model.LogTarget{{}}, Stderr: []model.LogTarget{{}}, Size: 1 << 20, Keep: 3}
	p, err := m.Begin("web", 7, 0, 0, spec)
	if err != nil {
		t.Fatal(err)
	}
	w, err := os.OpenFile(p.Out.Path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	e, _ := os.OpenFile(p.Err.Path, os.O_RDWR, 0)
	w.WriteString("hello\nwor")
	w.WriteString("ld\nunfinished")
	e.WriteString("oops\n")
	w.Close()
	e.Close()
	done := make(chan struct{})
	m.Ended("web", 7, func() { close(done) })
	<-done
	b, _ := os.ReadFile(filepath.Join(dir, "log/web/current"))
	t.Log("\n" + string(b))
	if strings.Count(string(b), "\n") < 4 {
		t.Fatal("short")
	}
	t.Logf("%+v", m.Stats("web"))
	m.Close()
}
