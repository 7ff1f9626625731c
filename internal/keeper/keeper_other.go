//go:build !linux || !(amd64 || arm64)

package keeper

import "syscall"

// Main refuses: the keeper needs Linux on amd64 or arm64.
func Main(args, environ []string) int {
	_, _ = syscall.Write(2, []byte("abide-keeper: cannot keep services: this system is not Linux on amd64 or arm64\n"))
	return 111
}
