package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/abide-project/abide/internal/spawn/prog"
)

// build makes the binary to be tested.
func build(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "abide-exec")
	if out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// result runs the binary with a program at descriptor 3 and a report at 4.
func result(t *testing.T, path string, program []byte) (status int, report prog.Report, reported bool) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/program", program, 0o600); err != nil {
		t.Fatal(err)
	}
	in, err := os.Open(dir + "/program")
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.Create(dir + "/report")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(path, "3", "4")
	cmd.ExtraFiles = []*os.File{in, out}
	var failed *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &failed) {
		t.Fatal(err)
	}
	text, err := os.ReadFile(dir + "/report")
	if err != nil {
		t.Fatal(err)
	}
	report, reported = prog.DecodeReport(text)
	return cmd.ProcessState.ExitCode(), report, reported
}

func program(t *testing.T, directory, file string) []byte {
	t.Helper()
	b := prog.NewBuilder(prog.NativeArch)
	b.Call(prog.Setpgid, prog.Int(0), prog.Int(0))
	b.Call(prog.Chdir, prog.At(b.Text(directory)))
	b.Call(prog.Execve, prog.At(b.Text(file)), prog.At(b.Texts([]string{file})), prog.At(b.Texts(nil)))
	block, err := b.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return block
}

func TestStatusAndReport(t *testing.T) {
	path := build(t)
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, []byte("#!/bin/sh\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name    string
		program []byte
		status  int
		report  prog.Report
	}{
		{"a missing program", program(t, "/", "/nowhere"), 127, prog.Report{Op: 2, Errno: uint32(syscall.ENOENT)}},
		{"a program that may not run", program(t, "/", plain), 126, prog.Report{Op: 2, Errno: uint32(syscall.EACCES)}},
		{"another op", program(t, "/nowhere", "/bin/true"), 125, prog.Report{Op: 1, Errno: uint32(syscall.ENOENT)}},
		{"noise", bytes.Repeat([]byte("x"), 200), 125, prog.Report{Op: prog.ReportRefused, Errno: uint32(syscall.EINVAL)}},
		{"nothing", nil, 125, prog.Report{Op: prog.ReportNoProgram, Errno: uint32(syscall.EFBIG)}},
	}
	for _, tc := range cases {
		if status, report, ok := result(t, path, tc.program); status != tc.status || report != tc.report || !ok {
			t.Errorf("%s: status %d, report %+v, %v", tc.name, status, report, ok)
		}
	}
	if status, _, reported := result(t, path, program(t, "/", "/bin/true")); status != 0 || reported {
		t.Errorf("a program that runs: status %d, reported %v", status, reported)
	}
}

func TestUseByHandIsRefused(t *testing.T) {
	path := build(t)
	for _, args := range [][]string{nil, {"3"}, {"a", "b"}, {"1", "2", "3"}} {
		cmd := exec.Command(path, args...)
		out, _ := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != 125 || !strings.Contains(string(out), "abide-exec") {
			t.Errorf("%q: %d, %s", args, cmd.ProcessState.ExitCode(), out)
		}
	}
}
