//go:build !linux

package cli

import "time"

func holder(string) (pid int, held bool) { return 0, false }

func livesOrComes(string) bool { return false }

func keeperLives(string) bool { return false }

func awaitRelease(string, time.Duration) bool { return true }

func lives(int, uint64) bool { return false }
