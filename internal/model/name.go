package model

import (
	"fmt"
	"strings"
)

// MaxName is the greatest length of a service's name in bytes.
const MaxName = 128

// Reserved is the name that no service may have: it means abide itself.
const Reserved = "abide"

// ValidName checks the name of a service: [A-Za-z0-9_][A-Za-z0-9_.:-]*, with
// "@INSTANCE" for a copy (FORMAT.md, Names). The error says which rule is broken.
func ValidName(name string) error {
	base, instance, isCopy := strings.Cut(name, "@")
	switch {
	case len(name) > MaxName:
		return fmt.Errorf("cannot name a service %.40q...: it has %d bytes, at most %d are allowed", name, len(name), MaxName)
	case base == Reserved:
		return fmt.Errorf("cannot name a service %q: the name is reserved for abide itself", name)
	case isCopy && instance == "":
		return fmt.Errorf("cannot name a service %q: an instance name must stand behind the @", name)
	}
	if err := validPart(name, base); err != nil {
		return err
	}
	if isCopy {
		return validPart(name, instance)
	}
	return nil
}

// ValidTemplate checks the name of a template, "NAME@".
func ValidTemplate(name string) error {
	base, ok := strings.CutSuffix(name, "@")
	if !ok || strings.Contains(base, "@") {
		return fmt.Errorf("cannot name a template %q: its one @ must stand at the end", name)
	}
	return ValidName(base)
}

// ValidInstance checks what stands behind the @ of a copy's name.
func ValidInstance(instance string) error {
	if err := validPart(instance, instance); err != nil {
		return err
	}
	if len(instance) > MaxName/2 {
		return fmt.Errorf("cannot name an instance %.40q...: it has %d bytes, at most %d are allowed", instance, len(instance), MaxName/2)
	}
	return nil
}

func validPart(name, part string) error {
	if part == "" {
		return fmt.Errorf("cannot name a service %q: the name is empty", name)
	}
	for i := 0; i < len(part); i++ {
		c := part[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_':
		case c == '.', c == ':', c == '-':
			if i == 0 {
				return fmt.Errorf("cannot name a service %q: it must begin with a letter, a digit or _", name)
			}
		default:
			return fmt.Errorf("cannot name a service %q: only letters, digits and _ . : - are allowed", name)
		}
	}
	return nil
}

// SplitName parts the name of a copy, "web@2" into "web" and "2". For a name
// without @ the instance is "".
func SplitName(name string) (base, instance string) {
	base, instance, _ = strings.Cut(name, "@")
	return base, instance
}
