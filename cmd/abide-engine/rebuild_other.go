//go:build !linux

package main

import (
	"github.com/abide-project/abide/internal/state"
	"github.com/abide-project/abide/internal/svlog"
)

func isProcess(state.Process) bool { return false }

func nameProcess(p state.Process) state.Process { return p }

func (k *keeper) nameless(string, uint64, svlog.Stream, string) int { return -1 }

func recordsName(string) uint64 { return 0 }
