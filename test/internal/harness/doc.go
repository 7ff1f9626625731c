// Package harness runs the real programs of bin/ for end-to-end tests: a daemon
// with its own run, state and log folders, commands against it, and a look at the
// processes that belong to it. Whatever a test leaves behind is found, reported
// and ended. It waits for what happens and never for a time to pass, and it never
// touches a process that it or its abide did not start.
package harness
