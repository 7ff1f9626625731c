// Package version is the one place that knows which abide this is. It links
// nothing.
package version

// Version is set at link time from the newest tag or commit.
var Version = "unknown"
