package svlog

import (
	"encoding/binary"
	"os"
)

// A compressed log ends in a skippable frame (RFC 8878, 3.1.2), which decoders
// pass over, with the inode that its lines were written to: so a reader that was
// in the middle of the plain file finds its place again.
const (
	originMagic = 0x184D2A5A
	originTag   = "abideino"
	originSize  = 8 + len(originTag) + 8
)

func appendOrigin(b []byte, ino uint64) []byte {
	b = binary.LittleEndian.AppendUint32(b, originMagic)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(originTag)+8))
	b = append(b, originTag...)
	return binary.LittleEndian.AppendUint64(b, ino)
}

// origin is the inode that a compressed log's lines were written to, 0 if it does
// not say.
func origin(f *os.File) uint64 {
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	var b [originSize]byte
	if n, err := f.ReadAt(b[:], info.Size()-int64(len(b))); n < len(b) || err != nil {
		return 0
	}
	ino := binary.LittleEndian.Uint64(b[len(b)-8:])
	if string(appendOrigin(nil, ino)) != string(b[:]) {
		return 0
	}
	return ino
}
