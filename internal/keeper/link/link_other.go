//go:build !linux

package link

import (
	"errors"
	"time"

	"github.com/abide-project/abide/internal/keeper/wire"
)

var errSystem = errors.New("cannot talk to a keeper: this system is not Linux")

// Link is a connection to the keeper; there is none on this system.
type Link struct{}

// Open refuses.
func Open(int, Handler) (*Link, Welcome, error) { return nil, Welcome{}, errSystem }

// List refuses.
func (*Link) List() ([]Record, error) { return nil, errSystem }

// Spawn refuses.
func (*Link) Spawn(*SpawnArgs) (uint32, error) { return 0, errSystem }

// Adopt refuses.
func (*Link) Adopt(string, uint64, int, uint64, int) (uint32, error) { return 0, errSystem }

// Main refuses.
func (*Link) Main(string, uint64, int, uint64, int) (uint32, error) { return 0, errSystem }

// Release refuses.
func (*Link) Release(string, uint64) (uint32, error) { return 0, errSystem }

// Ack refuses.
func (*Link) Ack(string, uint64) (uint32, error) { return 0, errSystem }

// Signal refuses.
func (*Link) Signal(string, uint64, int, uint32) (uint32, error) { return 0, errSystem }

// SignalOnce refuses.
func (*Link) SignalOnce(string, uint64, int, uint32, uint64) (uint32, error) { return 0, errSystem }

// Keep refuses.
func (*Link) Keep(string, uint64, uint32, int) (uint32, error) { return 0, errSystem }

// Drop refuses.
func (*Link) Drop(string, uint64, uint32) (uint32, error) { return 0, errSystem }

// Forget refuses.
func (*Link) Forget(string) (uint32, error) { return 0, errSystem }

// Handled refuses.
func (*Link) Handled(int, uint32) (uint32, error) { return 0, errSystem }

// Take refuses.
func (*Link) Take(string, uint64, uint32) (int, error) { return -1, errSystem }

// Count refuses.
func (*Link) Count() (Counters, error) { return wire.Stats{}, errSystem }

// Exit refuses.
func (*Link) Exit(uint8, uint32) error { return errSystem }

// Owed owes nothing.
func (*Link) Owed() (string, time.Time, bool) { return "", time.Time{}, false }

// Rebuild refuses.
func (*Link) Rebuild(uint32) (int, error) { return -1, errSystem }

// Close does nothing.
func (*Link) Close() error { return nil }

// Upgrade refuses.
func (*Link) Upgrade(string, string, string, int) (wire.Upgraded, error) {
	return wire.Upgraded{}, errSystem
}

// InCharge refuses.
func (*Link) InCharge() (wire.Upgraded, error) { return wire.Upgraded{}, errSystem }

// HandOver refuses.
func (*Link) HandOver(int, Estate) error { return errSystem }

// Orphan is of no use here.
func Orphan() *Link { return &Link{} }

// Replace refuses.
func (*Link) Replace(Successor, Estate) error { return errSystem }

// Start refuses.
func (*Successor) Start() error { return errSystem }

// Gone says yes.
func (*Link) Gone() bool { return true }
