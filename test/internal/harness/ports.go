package harness

import (
	"os"
	"sync/atomic"
)

// firstPort differs between test processes that run at the same time.
var ports atomic.Int32

func nextPort() int {
	const low, high = 20000, 31000
	offset := int32(os.Getpid() * 37 % (high - low))
	return low + int(offset+ports.Add(1))%(high-low)
}
