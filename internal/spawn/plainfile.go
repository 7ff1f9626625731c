package spawn

import (
	"fmt"
	"io"
)

// ReadPlain reads a regular file of at most limit bytes, by the rules for an
// environment file: a path is hostile to a privileged reader, and nothing else than a
// regular file is opened.
func ReadPlain(path string, limit int64, privileged bool) ([]byte, error) {
	file, err := openPlain(path, privileged)
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", path, reasonOf(err))
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", path, reasonOf(err))
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("cannot read %s: it has more than %d bytes", path, limit)
	}
	return data, nil
}
