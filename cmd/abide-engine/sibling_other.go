//go:build !linux

package main

import (
	"syscall"
	"time"
)

func sibling() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

func (clock) Yield() {}

func boottime() int64 { return int64(time.Since(started)) + 1 }
