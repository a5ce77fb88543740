//go:build !linux

package engine

import (
	"context"

	"github.com/carrel-dev/carrel/internal/audit"
	"github.com/carrel-dev/carrel/internal/policy"
)

// announceKeys does nothing: credentials are lent to desks only.
func announceKeys(context.Context, Host, *settings, *audit.Redactor) error { return nil }

// networkLayers grants nothing: doors are built on Linux only.
func networkLayers(*settings, string) ([]policy.Layer, error) { return nil, nil }
