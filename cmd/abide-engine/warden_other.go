//go:build !linux

package main

import (
	"context"
	"errors"

	"github.com/abide-project/abide/internal/keeper/link"
)

func watchOver(context.Context, *link.Link, string, func() []string, func() error, func([]string, error)) error {
	return errors.ErrUnsupported
}

func putInPlace(int, int) error { return errors.ErrUnsupported }
