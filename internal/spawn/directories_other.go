//go:build !linux

package spawn

// RemoveFolder refuses.
func RemoveFolder(string) error { return errSystem }

func makeFolder(string, []string, uint32, owner) error { return errSystem }
