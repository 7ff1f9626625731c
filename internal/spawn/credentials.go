package spawn

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/abide-project/abide/internal/model"
)

// maxCredential bounds a credential, in bytes, as systemd does.
const maxCredential = 1 << 20

// CredentialsDir is the folder with the credentials of a run, "" if it has none.
func (c *Compiler) CredentialsDir(svc *model.Service, run uint64) string {
	if len(svc.Credentials) == 0 || c.Credentials == "" {
		return ""
	}
	return filepath.Join(c.Credentials, svc.Name+"-"+strconv.FormatUint(run, 10))
}

// credentialsOf reads the name of a folder with credentials back.
func credentialsOf(base string) (service string, run uint64, ok bool) {
	i := strings.LastIndexByte(base, '-')
	if i < 0 {
		return "", 0, false
	}
	run, err := strconv.ParseUint(base[i+1:], 10, 64)
	return base[:i], run, err == nil
}

// PlaceCredentials reads the [credentials] of a service with abide's own rights and
// puts them where only the service's user can read them. What is there of the same
// run is made anew. Its errors name paths and never quote a file.
func (c *Compiler) PlaceCredentials(svc *model.Service, run uint64) error {
	dir := c.CredentialsDir(svc, run)
	if len(svc.Credentials) == 0 {
		return nil
	}
	if dir == "" {
		return fmt.Errorf("cannot hand credentials to %s: abide has no run directory to put them in", svc.Name)
	}
	if svc.Chroot != "" {
		return fmt.Errorf("cannot hand credentials to %s: with chroot it could not see their folder", svc.Name)
	}
	id, err := c.identity(svc)
	if err != nil {
		return err
	}
	names := c.names(svc, run, id)
	if err := c.openCredentials(); err != nil {
		return fmt.Errorf("cannot hand credentials to %s: %w", svc.Name, err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("cannot replace the credentials of %s: %w", svc.Name, err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("cannot hand credentials to %s: %w", svc.Name, err)
	}
	for _, cred := range svc.Credentials {
		if err := c.placeCredential(dir, cred, names, id); err != nil {
			_ = os.RemoveAll(dir)
			return err
		}
	}
	if err := giveFolder(dir, id.uid, id.gid); err != nil {
		_ = os.RemoveAll(dir)
		return fmt.Errorf("cannot hand credentials to %s: %w", svc.Name, err)
	}
	return nil
}

func (c *Compiler) placeCredential(dir string, cred model.Credential, names lookup, id identity) error {
	path, err := model.Expand(cred.Path, names)
	if err != nil {
		return fmt.Errorf("cannot read credential %s: %w", cred.Name, err)
	}
	from, err := openPlain(path, c.UID == 0)
	if err != nil {
		return fmt.Errorf("cannot read credential %s from %s: %w", cred.Name, path, reasonOf(err))
	}
	defer from.Close()
	content, err := io.ReadAll(io.LimitReader(from, maxCredential+1))
	if err != nil {
		return fmt.Errorf("cannot read credential %s from %s: %w", cred.Name, path, reasonOf(err))
	}
	defer clear(content)
	if len(content) > maxCredential {
		return fmt.Errorf("cannot read credential %s from %s: it is larger than %d bytes", cred.Name, path, maxCredential)
	}
	to, err := os.OpenFile(filepath.Join(dir, cred.Name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o400)
	if err != nil {
		return fmt.Errorf("cannot store credential %s: %w", cred.Name, err)
	}
	defer to.Close()
	if _, err := to.Write(content); err != nil {
		return fmt.Errorf("cannot store credential %s: %w", cred.Name, err)
	}
	if err := to.Chown(id.uid, id.gid); err != nil {
		return fmt.Errorf("cannot store credential %s: %w", cred.Name, err)
	}
	return nil
}

// giveFolder makes a finished folder the service's own, which it cannot change.
func giveFolder(dir string, uid, gid int) error {
	if err := os.Chmod(dir, 0o500); err != nil {
		return err
	}
	return os.Chown(dir, uid, gid)
}

// RemoveCredentials removes those of a run.
func (c *Compiler) RemoveCredentials(service string, run uint64) {
	if c.Credentials != "" {
		_ = os.RemoveAll(filepath.Join(c.Credentials, service+"-"+strconv.FormatUint(run, 10)))
	}
}

// RemoveOtherCredentials removes those of all runs that keep does not want.
func (c *Compiler) RemoveOtherCredentials(keep func(service string, run uint64) bool) {
	if c.Credentials == "" {
		return
	}
	entries, err := os.ReadDir(c.Credentials)
	if err != nil {
		return
	}
	for _, entry := range entries {
		if service, run, ok := credentialsOf(entry.Name()); !ok || !keep(service, run) {
			_ = os.RemoveAll(filepath.Join(c.Credentials, entry.Name()))
		}
	}
}
