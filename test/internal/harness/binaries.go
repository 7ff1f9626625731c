package harness

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// Root is the folder of the module, Bin that of the programs under test. Both
// are absolute, and known once Main has run.
var Root, Bin string

// Programs are abide's binaries.
var Programs = []string{"abide", "abide-keeper", "abide-engine", "abide-exec"}

// Main is what a TestMain calls: it finds the programs, builds them when they are
// missing, and runs the tests. ABIDE_BIN names another folder of programs.
func Main(m *testing.M) int {
	if err := prepare(); err != nil {
		fmt.Fprintln(os.Stderr, "harness:", err)
		return 1
	}
	return m.Run()
}

func prepare() error {
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return errors.New("cannot find go.mod above the working directory")
		}
		dir = parent
	}
	Root, Bin = dir, filepath.Join(dir, "bin")
	if other := os.Getenv("ABIDE_BIN"); other != "" {
		Bin = other
	}
	// What the tests make must be readable for services of other users.
	syscall.Umask(0o022)
	for _, program := range Programs {
		if _, err := os.Stat(filepath.Join(Bin, program)); err != nil {
			return build()
		}
	}
	return nil
}

func build() error {
	make := exec.Command("make", "build")
	make.Dir = Root
	if out, err := make.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot build the programs: %w\n%s", err, out)
	}
	return nil
}
