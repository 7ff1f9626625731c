package main

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strings"

	"github.com/abide-project/abide/internal/state"
)

// bootKey names the time for which what lies in RUN is worth anything: until
// process 1 of our pid namespace ends. A boot id alone would not do: a container
// that is started again finds its old run directory, and none of its processes.
func bootKey() string {
	const size = 36 // as long as a boot id
	namespace, _ := os.Readlink("/proc/self/ns/pid")
	sum := sha256.Sum256([]byte(state.BootID() + " " + namespace + " " + initStart()))
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
