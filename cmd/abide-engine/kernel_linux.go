package main

import "golang.org/x/sys/unix"

// kernelRelease is what uname -r says, "" where that is not known.
func kernelRelease() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}
