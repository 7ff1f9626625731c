package main

import (
	"net"
	"os"
)

// tellInit speaks sd_notify(3) to the init that runs abide, if it asked for it
// by NOTIFY_SOCKET. An init that does not listen is none of our trouble.
func tellInit(state string) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = conn.Write([]byte(state))
}
