package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/abide-project/abide/internal/state"
	"github.com/abide-project/abide/internal/version"
)

// alarms is RUN/alarms and the way out to webhooks, as the engine's port.
type alarms struct {
	file   *state.Keyed
	values map[string][]byte
	dir    string // of the lines that commands read
	client *http.Client
}

const (
	alarmsFile = "alarms"
	alarmsHead = "abide alarms 1 "
)

func openAlarms(run *state.Dir, path, boot string) *alarms {
	file, values := state.OpenKeyed(run, alarmsFile, alarmsHead+boot)
	if values == nil {
		values = map[string][]byte{}
	}
	return &alarms{
		file: file, values: values, dir: filepath.Join(path, "onfailure"), client: webhookClient(),
	}
}

// webhookClient goes where the definition says and nowhere else: through no proxy
// and after no redirect.
func webhookClient() *http.Client {
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{DisableKeepAlives: true},
	}
}

func (a *alarms) All() map[string][]byte { return a.values }

func (a *alarms) Set(key string, value []byte) error {
	a.values[key] = value
	if a.file.Stale() {
		return a.file.Replace(a.values)
	}
	return a.file.Append(map[string][]byte{key: value})
}

// Write makes the file anew: what is in it may be secret.
func (a *alarms) Write(id string, lines []string) (string, error) {
	if err := os.MkdirAll(a.dir, 0o700); err != nil {
		return "", err
	}
	path := filepath.Join(a.dir, id)
	text := strings.Join(lines, "\n")
	if text != "" {
		text += "\n"
	}
	return path, os.WriteFile(path, []byte(text), 0o600)
}

func (a *alarms) Remove(id string) { _ = os.Remove(filepath.Join(a.dir, id)) }

// Post reports success for 2xx. A receiver that says that the request is at fault is
// not asked again.
func (a *alarms) Post(ctx context.Context, address, id string, body []byte) (again bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", id)
	req.Header.Set("User-Agent", "abide/"+version.Version)
	answer, err := a.client.Do(req)
	if err != nil {
		return true, err
	}
	answer.Body.Close()
	switch code := answer.StatusCode; {
	case code >= 200 && code < 300:
		return false, nil
	case code == http.StatusRequestTimeout || code == http.StatusTooManyRequests || code >= 500:
		return true, fmt.Errorf("it answers %s", answer.Status)
	default:
		return false, fmt.Errorf("it answers %s", answer.Status)
	}
}
