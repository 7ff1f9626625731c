package state

import "strings"

// Masked stands in place of a value that is not shown.
const Masked = "***"

// secretParts are the parts of a variable's name that make its value a secret.
var secretParts = []string{"PASS", "SECRET", "TOKEN", "KEY"}

// IsSecret reports whether a variable of this name is taken to hold a secret.
func IsSecret(name string) bool {
	name = strings.ToUpper(name)
	for _, part := range secretParts {
		if strings.Contains(name, part) {
			return true
		}
	}
	return false
}

// MaskEnv returns a copy of env ("NAME=value" each) with the values of secrets
// replaced by Masked. What has no "=" is masked whole when it looks like one.
func MaskEnv(env []string) []string {
	masked := make([]string, len(env))
	for i, entry := range env {
		name, _, assigned := strings.Cut(entry, "=")
		switch {
		case !IsSecret(name):
			masked[i] = entry
		case assigned:
			masked[i] = name + "=" + Masked
		default:
			masked[i] = Masked
		}
	}
	return masked
}
