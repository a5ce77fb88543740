//go:build !linux

package engine

import "github.com/carrel-dev/carrel/internal/policy"

// networkLayers grants nothing: doors are built on Linux only.
func networkLayers(*settings, string) ([]policy.Layer, error) { return nil, nil }
