//go:build linux

package kernel

const (
	sysMemfdCreate = 319
	sysGetrandom   = 318
)
