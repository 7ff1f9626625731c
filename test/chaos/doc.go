// Package chaos kills abide while it works, and then looks for what that broke.
// Real programs run under the real binaries: some write numbered lines as fast as
// they can, some crash in ways that they note first, some leave children behind,
// some are slow to stop, and some need each other, say that they are ready, have
// commands around their runs, are checked, rolled, and told of when they fail.
// Processes of abide are killed or frozen at random moments while others give
// orders, and everything is counted from outside: the programs note their own
// starts, their readiness and their ends and hold a lock, so that a second copy, a
// lost exit, a lost line or a start before its time is seen without asking abide.
// There is nothing here but tests; they need root on Linux.
package chaos
