package definitions

import (
	"os"

	"github.com/abide-project/abide/internal/format/tomltree"
)

// maxFile bounds what is read of one file, in bytes.
const maxFile = tomltree.MaxSize

// stamp is a hash of what the file system says of a file; 0 means there is none.
type stamp uint64

// mix is FNV-1a over words.
func mix(words ...uint64) stamp {
	h := uint64(14695981039346656037)
	for _, w := range words {
		for range 8 {
			h ^= w & 0xff
			h *= 1099511628211
			w >>= 8
		}
	}
	return stamp(max(h, 1))
}

// input is a file or folder that a definition was made of.
type input struct {
	path string
	at   stamp
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
