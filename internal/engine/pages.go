package engine

import (
	"encoding/binary"
	"time"
)

// Pages whose names begin with a slash are the engine's own. Each begins with a
// version u16 and the length u16 of what follows, and only grows at its end.
const (
	bootPage     = "/boot"     // nothing more: what is wanted at boot was asked for
	shutdownPage = "/shutdown" // see shutdown.encode
	runlevelPage = "/runlevel" // see runlevel.encode
	foundPage    = "/found"    // pid u32 of the keeper under which all that runs was found, name u64 of its records
)

const ownVersion = 1

func ownPage(body []byte) []byte {
	blob := binary.LittleEndian.AppendUint16(nil, ownVersion)
	blob = binary.LittleEndian.AppendUint16(blob, uint16(len(body)))
	return append(blob, body...)
}

func (e *Engine) putOwn(name string, body []byte) {
	if err := e.ports.Snapshot.Put(name, ownPage(body)); err != nil {
		e.complainOnce("snapshot", "Cannot keep what abide itself is doing: "+err.Error())
	}
}

// loadPages returns the pages of services and keeps those of the engine's own.
func (e *Engine) loadPages() map[string][]byte {
	pages := e.ports.Snapshot.All()
	e.own, e.pastPages = map[string][]byte{}, map[string][]byte{}
	for name, blob := range pages {
		switch name[0] {
		case '/':
			e.own[name] = blob
			delete(pages, name)
		case pastMark:
			e.pastPages[name[1:]] = blob
			delete(pages, name)
		}
	}
	return pages
}

// foundBefore tells whether an engine of this keeper has looked for runs that the
// records lack.
func (e *Engine) foundBefore() bool {
	b := ownBody(e.own[foundPage], 4)
	return b != nil && int(int32(binary.LittleEndian.Uint32(b))) == e.opts.KeeperPid
}

// recordsLost tells whether runs may live that the records lack. The keeper knows
// when it could not use those that it found; a keeper before it that made new ones and
// died before anybody looked could tell nobody.
func (e *Engine) recordsLost() bool {
	if e.foundBefore() {
		return false
	}
	if b := ownBody(e.own[foundPage], 12); b != nil {
		before := binary.LittleEndian.Uint64(b[4:])
		return e.opts.RecordsLost || before != 0 && e.opts.Records != 0 && before != e.opts.Records
	}
	return e.opts.RecordsLost
}

func (e *Engine) noteFound() {
	b := binary.LittleEndian.AppendUint32(nil, uint32(e.opts.KeeperPid))
	e.putOwn(foundPage, binary.LittleEndian.AppendUint64(b, e.opts.Records))
}

// RecordsMoved is to be called in the loop when the records stand in another file,
// which lacks nothing.
func (e *Engine) RecordsMoved(records uint64) {
	e.opts.Records = records
	e.noteFound()
}

// ownBody returns the body of a page of the engine's own, nil when it is malformed
// or shorter than this version ever wrote it.
func ownBody(blob []byte, least int) []byte {
	if len(blob) < 4 || binary.LittleEndian.Uint16(blob) != ownVersion {
		return nil
	}
	body := blob[4:]
	if int(binary.LittleEndian.Uint16(blob[2:])) != len(body) || len(body) < least {
		return nil
	}
	return body
}

// The shutdown page: code u32, flags u32, began CLOCK_BOOTTIME ns u64, number of
// the request that asked for it u64, pid of the keeper u32, how often that one
// got each of shutdownSignals u32 each, length of why u16, why.
const (
	shutdownHurried = 1 << iota
	shutdownOver    // everything has stopped: only the keeper is left
)

const shutdownHead = 4 + 4 + 8 + 8 + 4 + 4*len(shutdownSignals) + 2

// shutdownSignals are those that mean a shutdown, in one mode or another.
var shutdownSignals = [...]int{sigTERM, sigINT, sigQUIT, sigRTMIN3, sigHUP}

const longestWhy = 200

func (sd *shutdown) encode(over bool) []byte {
	le := binary.LittleEndian
	var flags uint32
	if sd.hurried {
		flags |= shutdownHurried
	}
	if over {
		flags |= shutdownOver
	}
	b := make([]byte, 0, shutdownHead+longestWhy)
	b = le.AppendUint32(b, uint32(sd.code))
	b = le.AppendUint32(b, flags)
	b = le.AppendUint64(b, uint64(sd.began))
	b = le.AppendUint64(b, sd.request)
	b = le.AppendUint32(b, uint32(sd.keeper))
	for _, n := range sd.signals {
		b = le.AppendUint32(b, n)
	}
	why := sd.why[:min(len(sd.why), longestWhy)]
	b = le.AppendUint16(b, uint16(len(why)))
	return append(b, why...)
}

func decodeShutdown(blob []byte) (sd *shutdown, over bool) {
	le := binary.LittleEndian
	b := ownBody(blob, shutdownHead)
	if b == nil {
		return nil, false
	}
	flags := le.Uint32(b[4:])
	sd = &shutdown{
		code: int(int32(le.Uint32(b))), hurried: flags&shutdownHurried != 0,
		began: time.Duration(le.Uint64(b[8:])), request: le.Uint64(b[16:]), keeper: int(int32(le.Uint32(b[24:]))),
	}
	for i := range sd.signals {
		sd.signals[i] = le.Uint32(b[28+4*i:])
	}
	why := b[shutdownHead:]
	if n := int(le.Uint16(b[shutdownHead-2:])); n <= len(why) {
		sd.why = string(why[:n])
	}
	return sd, flags&shutdownOver != 0
}
