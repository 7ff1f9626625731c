package state

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strings"
)

// BootKey names the time for which what lies in RUN is worth anything: until
// process 1 of our pid namespace ends. A boot id alone would not do: a container
// that is started again finds its old run directory, and none of its processes.
// It is as long as a boot id.
func BootKey() string {
	const size = 36
	namespace, _ := os.Readlink("/proc/self/ns/pid")
	sum := sha256.Sum256([]byte(BootID() + " " + namespace + " " + initStart()))
	return hex.EncodeToString(sum[:])[:size]
}

// initStart is when process 1 began, field 22 of /proc/1/stat; "" where that is
// hidden.
func initStart() string {
	stat, err := os.ReadFile("/proc/1/stat")
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	const start = 19 // fields behind the name begin with the third
	if fields := strings.Fields(rest); len(fields) > start {
		return fields[start]
	}
	return ""
}
