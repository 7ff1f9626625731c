//go:build !linux

package main

// kernelRelease is what uname -r says, "" where that is not known.
func kernelRelease() string { return "" }
