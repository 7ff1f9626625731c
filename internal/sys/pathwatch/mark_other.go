//go:build !linux

package pathwatch

import "os"

// identity is when the content changed.
func identity(info os.FileInfo) any { return info.ModTime().UnixNano() }
