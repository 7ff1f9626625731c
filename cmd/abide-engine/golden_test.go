package main

import (
	"fmt"
	"testing"

	"github.com/abide-project/abide/internal/golden"
	"github.com/abide-project/abide/internal/model"
)

func TestAppliedDefinitionsOfVersion1AreRead(t *testing.T) {
	const boot = "c70deea32bae256ec62536d51dd5dcc74f01"
	s := newShop(t, nil)
	if err := s.dir.WriteFile(appliedFile, golden.Read(t, "testdata/v1/applied.gz", 0), 0o600); err != nil {
		t.Fatal(err)
	}
	_, past := openApplied(s.dir, boot, func(err error) { t.Error(err) })
	if len(past.services) != 4 {
		t.Fatalf("%d services", len(past.services))
	}
	task, web := past.services["task"], past.services["web"]
	if task.Kind != model.Task || fmt.Sprint(len(task.Command)) != "3" || web.Description != "stopped by hand" || web.Stop.Timeout != model.Defaults(model.Daemon, true).Stop.Timeout {
		t.Errorf("%+v\n%+v", task, web)
	}
	if _, other := openApplied(s.dir, "another boot", func(err error) { t.Error(err) }); other.services != nil {
		t.Error("definitions of another boot are in force")
	}
}
