package pathwatch

import (
	"fmt"
	"hash/fnv"
	"os"
)

// Mark is a number for what a path leads to: 0 while nothing is there, and another
// one whenever the file, its content, its owner or its times have changed. It must
// be called for paths on this machine only: others may hang.
func Mark(path string) uint64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %s %v", info.Size(), info.Mode(), identity(info))
	return max(h.Sum64(), 1)
}
