// Package chaos kills abide while it works, and then looks for what that broke.
// Real programs run under the real binaries: some write numbered lines as fast as
// they can, some crash in ways that they note first, some leave children behind,
// some are slow to stop. Processes of abide are killed or frozen at random moments
// while others give orders, and everything is counted from outside: the programs
// note their own starts and ends and hold a lock, so that a second copy, a lost
// exit or a lost line is seen without asking abide. There is nothing here but
// tests; they need root on Linux.
package chaos
