package main

import (
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

//go:embed c
var sources embed.FS

// programs are the compiled helpers by absolute path.
type programs struct{ stamp, baseline, writer string }

// compile builds the C programs into dir.
func compile(dir string) (programs, error) {
	build := func(name string, flags ...string) (string, error) {
		text, err := sources.ReadFile("c/" + name + ".c")
		if err != nil {
			return "", err
		}
		source, program := filepath.Join(dir, name+".c"), filepath.Join(dir, name)
		if err := os.WriteFile(source, text, 0o644); err != nil {
			return "", err
		}
		flags = append([]string{"-O2", "-Wall", "-Wextra", "-Werror", "-o", program, source}, flags...)
		if out, err := exec.Command("gcc", flags...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("cannot compile %s.c: %w\n%s", name, err, out)
		}
		return program, nil
	}
	var p programs
	var err error
	if p.stamp, err = build("stamp", "-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector", "-fno-pie", "-no-pie"); err != nil {
		return p, err
	}
	if p.baseline, err = build("baseline"); err != nil {
		return p, err
	}
	p.writer, err = build("writer")
	return p, err
}
