package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
)

// PatternUsers remembers for whose services a pattern of [operators] was given.
type PatternUsers struct {
	Grant string   `json:"grant"` // what it grants, as text: another grant is given anew
	Users []string `json:"users"` // sorted; "" is whom abide runs as
}

const (
	patternsFile    = "operators"
	patternsVersion = 1
	maxPatterns     = 1 << 20
)

type patternsJSON struct {
	Version  int                     `json:"version"`
	Patterns map[string]PatternUsers `json:"patterns"`
}

// LoadPatterns reads what StorePatterns wrote last, nothing if it never did. A file
// that makes no sense is kept as operators.bad, and err says so.
func LoadPatterns(state *Dir) (map[string]PatternUsers, error) {
	data, err := state.ReadFile(patternsFile, maxPatterns)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, state.failed("read", patternsFile, err)
	}
	var file patternsJSON
	err = json.Unmarshal(data, &file)
	if err == nil && file.Version != patternsVersion {
		err = fmt.Errorf("version %d, not %d", file.Version, patternsVersion)
	}
	if err != nil {
		return nil, errors.Join(state.failed("understand", patternsFile, err), state.SetAside(patternsFile))
	}
	return file.Patterns, nil
}

// StorePatterns replaces what is remembered, across a power cut as well.
func StorePatterns(state *Dir, patterns map[string]PatternUsers) error {
	data, err := json.Marshal(patternsJSON{patternsVersion, patterns})
	if err != nil {
		return err
	}
	return state.WriteFile(patternsFile, append(data, '\n'), 0o600)
}
