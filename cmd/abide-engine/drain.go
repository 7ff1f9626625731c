package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/abide-project/abide/internal/svlog"
)

// drain is what is left behind for a process that was released: it takes what the
// process writes into its log until it ends, or until TERM.
func drain(plan string) error {
	const most = 8 << 20
	debug.SetMemoryLimit(most)
	var p svlog.DrainPlan
	if err := json.Unmarshal([]byte(plan), &p); err != nil {
		return fmt.Errorf("cannot read what to drain: %w", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return svlog.Drain(ctx, p)
}
