//go:build linux

package kernel

const (
	sysMemfdCreate = 279
	sysGetrandom   = 278
)
