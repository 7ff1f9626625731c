//go:build !linux

package spawn

func (c *Compiler) openCredentials() error { return errSystem }

// CloseCredentials does nothing.
func (c *Compiler) CloseCredentials() {}
