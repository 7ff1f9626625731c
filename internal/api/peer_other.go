//go:build !linux

package api

import (
	"fmt"
	"net"
	"runtime"

	"github.com/abide-project/abide/internal/control"
)

func peerOf(*net.UnixConn) (control.Who, error) {
	return control.Who{}, fmt.Errorf("cannot read peer credentials: not supported on %s", runtime.GOOS)
}
