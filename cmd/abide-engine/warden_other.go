//go:build !linux

package main

import (
	"context"
	"errors"
)

func watchOver(context.Context, string, func() []string, func() error, func([]string, error)) error {
	return errors.ErrUnsupported
}

func putInPlace(int, int) error { return errors.ErrUnsupported }
