// Package raw holds the Linux system calls that package syscall lacks, for the
// keeper and whatever must link next to nothing. A call here allocates nothing,
// retries nothing but EINTR where that is harmless, and reports a plain errno (0
// for success). Waits go through the scheduler (syscall.Syscall), everything that
// returns at once does not.
package raw
