package prog

// Report is what abide-exec leaves behind when a program fails: ReportSize bytes
// at the start of the report descriptor. An empty one means that the program ran
// to its execve, or that abide-exec itself was killed.
type Report struct {
	Op    uint32 // index of the op that failed, or one of the values below
	Errno uint32
}

// Reports that are not about one op. They are above any index and fit into a
// signed number of 32 bits.
const (
	ReportNoProgram = 0x7ffffffe // the program could not be read; Errno says why
	ReportRefused   = 0x7ffffffd // the program is not valid
	ReportNoExec    = 0x7ffffffc // abide-exec itself could not be run: its keeper says so
)

// ReportSize is the length of a report: magic, version, op, errno.
const ReportSize = 16

const reportMagic = 0x52534241 // "ABSR"

// Encode returns the report as abide-exec writes it.
func (r Report) Encode() [ReportSize]byte {
	var b [ReportSize]byte
	w := appendUint32(b[:0], reportMagic)
	w = appendUint32(w, Version)
	w = appendUint32(w, r.Op)
	appendUint32(w, r.Errno)
	return b
}

// DecodeReport reads a report; ok is false when there is none.
func DecodeReport(b []byte) (r Report, ok bool) {
	if len(b) < ReportSize || uint32At(b, 0) != reportMagic || uint32At(b, 4) != Version {
		return Report{}, false
	}
	return Report{Op: uint32At(b, 8), Errno: uint32At(b, 12)}, true
}
