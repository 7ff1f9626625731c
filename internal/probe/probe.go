// Package probe asks a program from outside whether it serves: it connects to a
// socket or gets a page. A probe keeps no connection, follows no redirection, uses
// no proxy and leaves nothing behind when it is over. It does not ask who answers:
// the certificate of an https address is not verified, for what listens on this
// machine rarely has one for the name that it is asked by.
//
// An error says in a few words what is wrong: "connection refused", "status 503",
// "no answer within 5s".
package probe

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/abide-project/abide/internal/version"
)

// TCP connects to host:port. A host that is left out is this machine.
func TCP(ctx context.Context, address string) error {
	conn, err := dial(ctx, "tcp", address)
	if err != nil {
		return explain(ctx, err)
	}
	return conn.Close()
}

// HTTP gets a page, over http, https, or http+unix://%2Frun%2Fweb.sock/path. What is
// answered with 2xx or 3xx serves.
func HTTP(ctx context.Context, address string) error {
	target, socket, err := Target(address)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "abide/"+version.Version)
	req.Close = true
	network, place := "tcp", hostPort(target)
	if socket != "" {
		network, place = "unix", socket
	}
	conn, err := dial(ctx, network, place)
	if err != nil {
		return explain(ctx, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if target.Scheme == "https" {
		secure := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, ServerName: target.Hostname()})
		if err := secure.HandshakeContext(ctx); err != nil {
			return explain(ctx, err)
		}
		conn = secure
	}
	// No http.Transport: it keeps goroutines beside each connection.
	if err := req.Write(conn); err != nil {
		return explain(ctx, err)
	}
	const header = 64 << 10
	answer, err := http.ReadResponse(bufio.NewReader(io.LimitReader(conn, header)), req)
	if err != nil {
		return explain(ctx, err)
	}
	if answer.StatusCode < 200 || answer.StatusCode > 399 {
		return fmt.Errorf("status %d", answer.StatusCode)
	}
	// A server whose page is not taken may count that as a failure of its own. It is
	// the status that counts here.
	const rest = 100 * time.Millisecond
	_ = conn.SetReadDeadline(time.Now().Add(rest))
	_, _ = io.Copy(io.Discard, answer.Body)
	return nil
}

func hostPort(u *url.URL) string {
	port := u.Port()
	switch {
	case port != "":
	case u.Scheme == "https":
		port = "443"
	default:
		port = "80"
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// Target takes the address of a page apart. socket is the path of the socket that it
// is asked on, "" for one that its host and port name.
func Target(address string) (target *url.URL, socket string, err error) {
	unix := strings.HasPrefix(address, unixScheme)
	if unix {
		// The host of an URL must not hold an escaped slash.
		host, rest, _ := strings.Cut(address[len(unixScheme):], "/")
		if socket, err = url.PathUnescape(host); err != nil || !strings.HasPrefix(socket, "/") {
			return nil, "", fmt.Errorf("cannot use %q: it is written %s%%2Frun%%2Fweb.sock/path", address, unixScheme)
		}
		address = "http://localhost/" + rest
	}
	target, err = url.Parse(address)
	switch {
	case err != nil:
		var parse *url.Error
		if errors.As(err, &parse) {
			err = parse.Err
		}
		return nil, "", fmt.Errorf("cannot use %q: %w", address, err)
	case target.Scheme != "http" && target.Scheme != "https" || target.Hostname() == "":
		return nil, "", fmt.Errorf("cannot use %q: it is no http or https address", address)
	}
	return target, socket, nil
}

const unixScheme = "http+unix://"

// dial connects without the runtime's keep-alive, whose only timer would outlive the
// probe, and asks the addresses of a name in turn, not one beside the other.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{KeepAlive: -1, FallbackDelay: -1}
	return d.DialContext(ctx, network, address)
}

// explain leaves out what the definition says already.
func explain(ctx context.Context, err error) error {
	var lookup *net.DNSError
	var errno syscall.Errno
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(ctx.Err(), context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return errors.New("no answer" + within(ctx))
	case errors.Is(ctx.Err(), context.Canceled):
		return context.Canceled
	case errors.As(err, &lookup):
		return fmt.Errorf("cannot look up %s: %s", lookup.Name, lookup.Err)
	case errors.As(err, &errno):
		return errors.New(errno.Error())
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the connection was closed without an answer")
	}
	return err
}

type began struct{}

// WithTimeout is context.WithTimeout for a probe, which says then how long there was
// no answer.
func WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(context.WithValue(ctx, began{}, d), d)
}

func within(ctx context.Context) string {
	if d, ok := ctx.Value(began{}).(time.Duration); ok {
		return " within " + d.String()
	}
	return ""
}
