//go:build !linux

package client

import (
	"context"
	"fmt"
	"net"
	"runtime"
)

func dialUnix(ctx context.Context, path string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "unix", path)
}

func checkServer(net.Conn, string) error {
	return fmt.Errorf("cannot read the server's credentials: not supported on %s", runtime.GOOS)
}
