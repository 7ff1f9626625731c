//go:build !linux

// Abide-exec runs a spawn program in a process of its own; this system has none.
package main

import "os"

func main() {
	os.Stderr.WriteString("abide-exec: cannot run spawn programs: this system is not Linux\n")
	os.Exit(125)
}
