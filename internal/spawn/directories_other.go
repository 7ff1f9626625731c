//go:build !linux

package spawn

func removeFolder(string, int) error { return errSystem }

func makeFolder(string, []string, uint32, owner) error { return errSystem }
