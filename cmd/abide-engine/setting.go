package main

import (
	"os"
	"path/filepath"
	"strconv"

	"github.com/abide-project/abide/internal/conditions"
	"github.com/abide-project/abide/internal/model"
	"github.com/abide-project/abide/internal/spawn"
)

// setting is what a run needs beside its program, as the engine's port.
type setting struct{ c *spawn.Compiler }

func (s setting) Unmet(svc *model.Service) string {
	return conditions.Unmet(&svc.Conditions, thisMachine(s))
}

func (s setting) Make(svc *model.Service, run uint64) error {
	if err := s.c.MakeDirectories(svc); err != nil {
		return err
	}
	return s.c.PlaceCredentials(svc, run)
}

func (s setting) Clear(name string, run uint64) { s.c.RemoveCredentials(name, run) }

func (s setting) ClearOthers(keep func(name string, run uint64) bool) {
	s.c.RemoveOtherCredentials(keep)
}

func (s setting) RunDirectory(svc *model.Service) string { return s.c.RunDirectory(svc) }

func (s setting) Remove(svc *model.Service) error { return s.c.RemoveRunDirectory(svc) }

// thisMachine is what conditions judge.
type thisMachine struct{ c *spawn.Compiler }

func (thisMachine) Matches(glob string) (bool, error) {
	if !conditions.IsGlob(glob) {
		_, err := os.Stat(glob)
		if os.IsNotExist(err) {
			return false, nil
		}
		return err == nil, err
	}
	found, err := filepath.Glob(glob)
	return len(found) > 0, err
}

func (m thisMachine) Host() string   { return m.c.Host }
func (m thisMachine) Kernel() string { return kernelRelease() }

func (thisMachine) Variable(name string) (string, bool) { return os.LookupEnv(name) }

func (m thisMachine) Runs(user string) bool {
	if uid, err := strconv.Atoi(user); err == nil {
		return uid == m.c.UID
	}
	uid, _, err := m.c.Account(&model.Service{User: user, Group: "0"})
	return err == nil && uid == m.c.UID
}
