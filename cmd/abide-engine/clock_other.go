//go:build !linux

package main

import (
	"time"
)

func (clock) Yield() {}

func boottime() int64 { return int64(time.Since(started)) + 1 }
