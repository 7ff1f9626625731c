package cli

import (
	"fmt"
	"sync"
	"time"
)

// progress shows what is waited for: on a terminal one line that is rewritten
// with the time it takes, elsewhere a plain line for each new text, the first
// after a second.
type progress struct {
	app      *app
	terminal bool
	began    time.Time

	mu    sync.Mutex
	text  string
	said  string // the last plain line
	shown bool   // the terminal's line is not empty
	done  bool
	timer *time.Timer
}

const progressDelay = time.Second

func (a *app) startProgress(text string) *progress {
	p := &progress{app: a, terminal: a.errFile != nil && isTerminal(a.errFile), began: time.Now(), text: text}
	p.timer = time.AfterFunc(progressDelay, p.tick)
	return p
}

// say replaces the text.
func (p *progress) say(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if text == p.text {
		return
	}
	p.text = text
	if time.Since(p.began) >= progressDelay {
		p.show()
	}
}

func (p *progress) tick() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done {
		return
	}
	p.show()
	if p.terminal {
		p.timer.Reset(time.Second)
	}
}

func (p *progress) show() {
	if p.done {
		return
	}
	if !p.terminal {
		if p.said != p.text {
			fmt.Fprintf(p.app.stderr, "abide: %s\n", p.text)
			p.said = p.text
		}
		return
	}
	line := fmt.Sprintf("%s (since %s, %s)", p.text, p.began.Format("15:04:05"), time.Since(p.began).Round(time.Second))
	if width := terminalWidth(p.app.errFile); width > 1 && len(line) >= width {
		line = line[:width-1]
	}
	fmt.Fprintf(p.app.stderr, "\r\x1b[K%s", line)
	p.shown = true
}

// stop ends it and leaves the terminal's line empty. It may be called twice.
func (p *progress) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done = true
	p.timer.Stop()
	if p.shown {
		fmt.Fprint(p.app.stderr, "\r\x1b[K")
		p.shown = false
	}
}
