package spawn

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Credentials must not reach a disk: a folder of theirs that is not in memory gets a
// file system of its own where that may be mounted.
const (
	credentialsMode  = 0o711
	credentialsRoom  = "mode=0711,size=64m"
	credentialsFlags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
)

// openCredentials makes the folder of all credentials.
func (c *Compiler) openCredentials() error {
	c.opening.Lock()
	defer c.opening.Unlock()
	err := os.Mkdir(c.Credentials, credentialsMode)
	if err == nil {
		err = os.Chmod(c.Credentials, credentialsMode) // whatever the umask is
	}
	if err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	info, err := os.Lstat(c.Credentials)
	switch {
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is no directory", c.Credentials)
	case c.UID != 0 || inMemory(c.Credentials):
		return nil
	}
	// Without swap where the kernel knows that (Linux 6.4); where nothing may be
	// mounted the run directory has to do.
	if unix.Mount("tmpfs", c.Credentials, "tmpfs", credentialsFlags, credentialsRoom+",noswap") != nil {
		_ = unix.Mount("tmpfs", c.Credentials, "tmpfs", credentialsFlags, credentialsRoom)
	}
	return nil
}

func inMemory(path string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(path, &fs) == nil && (fs.Type == unix.TMPFS_MAGIC || fs.Type == unix.RAMFS_MAGIC)
}

// CloseCredentials removes the folder with what is in it, when no run needs it any
// more.
func (c *Compiler) CloseCredentials() {
	if c.Credentials == "" {
		return
	}
	c.RemoveOtherCredentials(func(string, uint64) bool { return false })
	_ = unix.Unmount(c.Credentials, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW) // EINVAL: it is no mount
	_ = os.Remove(c.Credentials)
}
