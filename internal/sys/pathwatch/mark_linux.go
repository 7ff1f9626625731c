package pathwatch

import (
	"os"
	"syscall"
)

// identity is which file it is, and when anything of it changed.
func identity(info os.FileInfo) any {
	st := info.Sys().(*syscall.Stat_t)
	return [5]int64{int64(st.Dev), int64(st.Ino), st.Ctim.Sec, st.Ctim.Nsec, st.Mtim.Nano()}
}
