//go:build linux && (amd64 || arm64)

package birth

// prlimit reads RLIMIT_NOFILE of this process: package syscall cannot be used
// here, see the package comment.
//
//go:noescape
func prlimit(limit *[2]uint64) (errno int64)

func nofile() (soft, hard uint64) {
	var limit [2]uint64
	if prlimit(&limit) != 0 {
		return 0, 0
	}
	return limit[0], limit[1]
}
