package engine

import (
	"errors"
	"strings"
	"time"
)

// The kinds of checks, which are the slots of commands that check.
const (
	readyCheck  = "ready"
	healthCheck = "health"
)

// checkOf is one question to a program: one of tcp, http and exec.
type checkOf struct {
	kind    string
	tcp     string
	http    string
	exec    []string
	timeout time.Duration
}

// probe asks once; done is called in the loop, later, with nil or what is wrong. Who
// cancels is not told any more.
func (e *Engine) probe(s *service, c checkOf, done func(no error)) (cancel func()) {
	over := false
	answer := func(err error) {
		e.Post(func() {
			if !over {
				over = true
				done(err)
			}
		})
	}
	stop := func() {}
	switch {
	case c.exec != nil:
		e.runAux(s, c.kind, e.nextCheck(s, c.kind), c.exec, c.timeout, func(_ Exit, reason string) {
			if reason == "" {
				answer(nil)
			} else {
				answer(errors.New(strings.TrimPrefix(reason, theCommand)))
			}
		})
	default:
		text, ask := c.tcp, e.ports.Signs.TCP
		if c.http != "" {
			text, ask = c.http, e.ports.Signs.HTTP
		}
		address, err := e.ports.Compiler.Expand(s.def, text, s.st.Run)
		if err != nil {
			answer(err)
			break
		}
		stop = ask(address, c.timeout, answer)
	}
	return func() {
		over = true
		stop()
	}
}

// nextCheck is the number of the next command of a kind. One that an engine before us
// began and that has not ended is the next one.
func (e *Engine) nextCheck(s *service, kind string) uint64 {
	a := e.aux[s.slot+"/"+kind]
	switch {
	case a == nil:
		return 1
	case a.live:
		return a.run
	}
	return a.run + 1
}

// endCheck ends a command that checks and is not waited for any more.
func (e *Engine) endCheck(s *service, kind string) {
	if a := e.aux[s.slot+"/"+kind]; a != nil {
		e.endAux(a, "is not waited for any more")
	}
}

// noSigns asks nothing.
type noSigns struct{}

var errNoSigns = errors.New("this abide asks programs nothing")

func (noSigns) TCP(_ string, _ time.Duration, done func(error)) func() {
	done(errNoSigns)
	return func() {}
}
func (n noSigns) HTTP(address string, timeout time.Duration, done func(error)) func() {
	return n.TCP(address, timeout, done)
}
func (noSigns) MakePipe(string, uint64) (string, int, error)   { return "", -1, errNoSigns }
func (noSigns) OpenPipe(string, uint64) (int, error)           { return -1, errNoSigns }
func (noSigns) AwaitPipe(int, func(line bool)) (func(), error) { return nil, errNoSigns }
func (noSigns) RemovePipe(string, uint64)                      {}
