package api

import (
	"container/list"
	"net"
	"sync"
	"time"

	"github.com/abide-project/abide/internal/control"
)

// gate is a listener that knows who connects and bounds how many may. A user at
// the bound loses the oldest connection that is not being served, so clients
// that hang keep nobody out; only when all are being served is a new one refused.
type gate struct {
	net.Listener
	perUser int // for each uid
	total   int // for all uids but root and our own, which have perUser reserved
	self    int // the uid we run as

	mu     sync.Mutex
	users  map[int]*list.List // of *conn, oldest first
	others int                // connections of all uids but root and self
}

// conn is one accepted connection.
type conn struct {
	net.Conn
	who     control.Who
	gate    *gate
	place   *list.Element
	serving int // requests now in a handler; guarded by gate.mu
	gone    bool
}

func newGate(l net.Listener, perUser, total, self int) *gate {
	return &gate{Listener: l, perUser: perUser, total: total, self: self, users: make(map[int]*list.List)}
}

const refusal = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n" +
	`{"error":{"code":"failed","message":"cannot serve another connection: too many are open for this user","hint":"end some of the clients that follow logs or events"}}` + "\n"

// Accept returns the next connection that may be served. Peers the kernel cannot
// name are dropped.
func (g *gate) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		uc, ok := c.(*net.UnixConn)
		if !ok {
			c.Close()
			continue
		}
		who, err := peerOf(uc)
		if err != nil {
			c.Close()
			continue
		}
		if admitted := g.admit(c, who); admitted != nil {
			return admitted, nil
		}
		c.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
		c.Write([]byte(refusal))
		c.Close()
	}
}

func (g *gate) admit(c net.Conn, who control.Who) *conn {
	g.mu.Lock()
	defer g.mu.Unlock()
	mine := g.users[who.UID]
	if mine == nil {
		mine = list.New()
		g.users[who.UID] = mine
	}
	if mine.Len() >= g.perUser && !evict(mine) {
		return nil
	}
	if !g.reserved(who.UID) && g.others >= g.total && !evict(mine) {
		if mine.Len() == 0 {
			delete(g.users, who.UID)
		}
		return nil
	}
	admitted := &conn{Conn: c, who: who, gate: g}
	admitted.place = mine.PushBack(admitted)
	g.users[who.UID] = mine
	if !g.reserved(who.UID) {
		g.others++
	}
	return admitted
}

func (g *gate) reserved(uid int) bool { return uid == 0 || uid == g.self }

// evict closes the oldest connection that no handler serves.
func evict(mine *list.List) bool {
	for e := mine.Front(); e != nil; e = e.Next() {
		if c := e.Value.(*conn); c.serving == 0 {
			c.leave()
			c.Conn.Close()
			return true
		}
	}
	return false
}

// leave gives the connection's place free. The caller holds gate.mu.
func (c *conn) leave() {
	if c.gone {
		return
	}
	c.gone = true
	mine := c.gate.users[c.who.UID]
	mine.Remove(c.place)
	if mine.Len() == 0 {
		delete(c.gate.users, c.who.UID)
	}
	if !c.gate.reserved(c.who.UID) {
		c.gate.others--
	}
}

// Close closes the connection and frees its place.
func (c *conn) Close() error {
	c.gate.mu.Lock()
	c.leave()
	c.gate.mu.Unlock()
	return c.Conn.Close()
}

func (c *conn) serve(n int) {
	c.gate.mu.Lock()
	c.serving += n
	c.gate.mu.Unlock()
}
