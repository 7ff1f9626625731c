//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "bench: cannot measure here: it reads /proc and needs pidfds, which only Linux has")
	os.Exit(1)
}
