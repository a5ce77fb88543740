package policy

import (
	"github.com/carrel-dev/carrel"
)

// Kind says whose word a layer is.
type Kind string

// Builtin is the name of the layer that is always there.
const Builtin = "builtin"

// The kinds. The built-in layer is always there; only it and the
// organisation's layers may govern the operators' own operations.
const (
	builtin      Kind = Builtin
	Organisation Kind = "organisation"
	User         Kind = "user"
	Repository   Kind = "repository" // its allow is never a grant
)

// File is one Rego source. Name is shown in errors and is part of the digest.
type File struct {
	Name   string
	Source []byte
}

// Layer is one voice in a decision. It has either Files (Rego) or Func.
type Layer struct {
	Name string // unique; the first half of its rules' names
	Kind Kind

	Files []File
	// Data is a JSON object that the layer's rules, and no others, see as
	// data. Empty: none.
	Data []byte
	// Revision and SignedBy are what FromBundle found.
	Revision, SignedBy string
	Bundle             string `json:"-"` // the file it was found in
	// Entry is the package that is asked, as "data.team.rules". Empty: the
	// package cowork.access and every package with a rule `governs`.
	Entry string

	// Func answers the operations of Governs in Go, such as the matching of
	// egress rules. It must be safe for concurrent use and not keep the
	// action. Text is everything it decides by, so that another text is another
	// policy; it has no secret, since it is kept and handed to others as evidence.
	Func    func(carrel.Action) Answer `json:"-"`
	Governs []carrel.Operation
	Text    []byte
}

// Answer is what one layer says to one action. The zero value denies.
type Answer struct {
	Verdict   carrel.Verdict
	Rules     []string // without the layer's name
	Reason    string
	NextSteps []string
	// Addresses narrows a network decision to addresses that a rule names.
	Addresses []string
}
