//go:build linux

package keeper

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/abide-project/abide/internal/keeper/wire"
)

// TestAnEngineOfVersion1IsServed plays the engine before this one by its messages.
func TestAnEngineOfVersion1IsServed(t *testing.T) {
	r := startRig(t)
	e := r.nextEngine()
	say := func(msg []byte) (wire.Header, []byte) {
		t.Helper()
		if err := unix.Send(e.fd, msg, 0); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, wire.MaxMessage)
		n, err := unix.Read(e.fd, buf)
		if err != nil {
			t.Fatal(err)
		}
		h, body, code := wire.Parse(buf[:n])
		if code != wire.CodeNone {
			t.Fatalf("%x: %v", buf[:n], code)
		}
		return h, body
	}
	if err := unix.SetNonblock(e.fd, false); err != nil {
		t.Fatal(err)
	}
	h, body := say((&wire.Hello{Version: 1}).Append(nil, 1))
	var w wire.Welcome
	if code := w.Decode(body); h.Type != wire.TypeWelcome || code != wire.CodeNone || w.Version != 1 || len(body) != 100 {
		t.Fatalf("type %#x, %v, version %d, %d bytes", h.Type, code, w.Version, len(body))
	}
	refused := func(what string, msg []byte, want wire.Code) {
		t.Helper()
		h, body := say(msg)
		var m wire.Failure
		if code := m.Decode(body); h.Type != wire.TypeError || code != wire.CodeNone || m.Code != want {
			t.Errorf("%s: type %#x, %v, refused for %v", what, h.Type, code, m.Code)
		}
	}
	upgrade := wire.Upgrade{Flags: wire.UpgradeInCharge}
	refused("a request of version 2", upgrade.Append(nil, 2), wire.CodeVersion)
	change := wire.Main{Name: []byte("web"), Run: 1, Pid: 2, Start: 3}
	refused("a request of version 3", change.Append(nil, 2), wire.CodeVersion)
	if h, _ := say((&wire.List{}).Append(nil, 3)); h.Type != wire.TypeInventory {
		t.Errorf("LIST is answered by %#x", h.Type)
	}
	refused("a version that never was", (&wire.Hello{Version: 0}).Append(nil, 4), wire.CodeVersion)
	// One of the future gets ours.
	if h, body := say((&wire.Hello{Version: 99}).Append(nil, 5)); h.Type != wire.TypeWelcome || w.Decode(body) != wire.CodeNone || w.Version != wire.Version {
		t.Errorf("version 99 is answered by %#x, version %d", h.Type, w.Version)
	}
}
