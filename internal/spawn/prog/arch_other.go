//go:build !amd64 && !arm64

package prog

// NativeArch is the machine this code runs on, 0 if programs cannot run there.
const NativeArch uint32 = 0
