// Package api serves control.Supervisor as HTTP/1.1 and JSON on a unix socket.
// It knows who asks (the kernel says so, once per connection) and passes that on;
// who may do what is the supervisor's judgement. Nothing a client sends or fails
// to send can stop it: sizes, times and connections are bounded, garbage is
// answered 400, a panic of one request ends that request. It opens no socket and
// never listens on TCP.
package api

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/abide-project/abide/internal/control"
)

// Options bounds a Server. A zero field takes the default named beside it.
type Options struct {
	PerUser      int           // connections of one uid: 32
	Total        int           // connections of all uids but root and our own: 192
	HeaderTime   time.Duration // from accept to a complete request head: 5 s
	RequestTime  time.Duration // to a complete request: 15 s
	WriteTime    time.Duration // for one write to a client that does not read: 15 s
	IdleTime     time.Duration // between two requests: 60 s
	ReportDefect func(text string)
}

// Server answers clients. It is safe for concurrent use.
type Server struct {
	sup     control.Supervisor
	opts    Options
	http    http.Server
	streams context.Context // ends when the server is told to end
	cut     context.CancelFunc
}

// New returns a server in front of sup.
func New(sup control.Supervisor, o Options) *Server {
	setDefault(&o.PerUser, 32)
	setDefault(&o.Total, 192)
	setDefault(&o.HeaderTime, 5*time.Second)
	setDefault(&o.RequestTime, 15*time.Second)
	setDefault(&o.WriteTime, 15*time.Second)
	setDefault(&o.IdleTime, 60*time.Second)
	if o.ReportDefect == nil {
		o.ReportDefect = func(string) {}
	}
	s := &Server{sup: sup, opts: o}
	s.streams, s.cut = context.WithCancel(context.Background())
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	s.http = http.Server{
		Handler:           http.HandlerFunc(s.serve),
		Protocols:         &protocols,
		ReadHeaderTimeout: o.HeaderTime,
		ReadTimeout:       o.RequestTime,
		IdleTimeout:       o.IdleTime,
		MaxHeaderBytes:    8 << 10,
		ErrorLog:          log.New(io.Discard, "", 0),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, c)
		},
	}
	return s
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Serve accepts on l, a listening unix socket, until Close or Shutdown, and then
// returns nil.
func (s *Server) Serve(l net.Listener) error {
	err := s.http.Serve(newGate(l, s.opts.PerUser, s.opts.Total, os.Geteuid()))
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// lastWords is how long followers are kept at a shutdown, so that they hear of
// the very last event.
const lastWords = 50 * time.Millisecond

// Shutdown ends streams a moment later, lets the requests under way be answered
// until ctx ends, and closes the listener it was given.
func (s *Server) Shutdown(ctx context.Context) error {
	defer s.cut()
	defer time.AfterFunc(lastWords, s.cut).Stop()
	if err := s.http.Shutdown(ctx); err != nil {
		s.http.Close()
		return err
	}
	return nil
}

// Close ends every connection at once.
func (s *Server) Close() error {
	s.cut()
	return s.http.Close()
}

type connKey struct{}

// connOf returns the connection of a request, which knows its peer.
func connOf(r *http.Request) *conn { return r.Context().Value(connKey{}).(*conn) }
