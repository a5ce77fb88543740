//go:build linux && !amd64

package main

import "errors"

func tryForeign([]string) error { return errors.New("there is no other interface on this machine") }
