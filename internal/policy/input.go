package policy

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/carrel-dev/carrel"
)

// input is what policies see of an action, checked and frozen. Its fields are
// documented in spec/policy-input.md.
type input struct {
	value  *ast.Term
	json   []byte // value as canonical JSON
	digest carrel.Digest
}

// newInput checks a against the schema of its operation. What is missing, of
// another shape, unclean or too big never reaches a policy: a policy that
// looks for something bad in a field would not find it in a field that is not
// there.
func newInput(a carrel.Action) (input, error) {
	if err := checkAction(a); err != nil {
		return input{}, err
	}
	known, err := classes()
	if err != nil {
		return input{}, err
	}
	doc := make(object, 0, 16)
	doc.text("operation", string(a.Operation))
	doc.text("agent", a.Agent)
	doc.text("run", string(a.Run))
	switch a.Operation {
	case carrel.OpRead, carrel.OpWrite, carrel.OpDelete:
		doc.file(a, known)
	case carrel.OpExec:
		doc.text("path", a.Path)
		doc.text("program", programName(a))
		doc.strings("programs", programNames(a))
		doc.texts("argv", a.Argv)
		doc.outside("cwd", a.Cwd)
		doc.text("digest", string(a.Executable))
		doc.strings("classes", known.ofCommand(programNames(a), a.Argv))
	case carrel.OpResolve, carrel.OpConnect, carrel.OpRequest, carrel.OpExpose:
		doc.destination(a)
	case carrel.OpCredential:
		if a.Host != "" { // a use; a lease goes nowhere yet
			doc.destination(a)
		}
	case carrel.OpPublish:
		doc.publication(*a.Publication)
	}
	if t := a.Attestation; t != nil {
		doc.attestation(*t)
	}
	if a.Subject != "" {
		doc.text("subject", a.Subject)
	}
	if a.SubjectDigest != "" {
		doc.text("subject_digest", string(a.SubjectDigest))
	}
	if a.Reason != "" {
		doc.outside("reason", a.Reason)
	}
	return sealed(ast.NewObject(doc...)), nil
}

func sealed(value ast.Object) input {
	encoded := appendJSON(make([]byte, 0, 512), value)
	return input{ast.NewTerm(value), encoded, carrel.DigestBytes(encoded)}
}

// at returns in with the time, to the second, in the zone of t: rules are
// about people's days. The record says the same time, so that the answer can
// be found again.
func (in input) at(t time.Time) input {
	var now object
	now.text("at", t.Format(time.RFC3339))
	now.text("date", t.Format(time.DateOnly))
	now.text("weekday", t.Weekday().String())
	now.number("hour", int64(t.Hour()))
	now.number("minute", int64(t.Minute()))
	var doc object
	in.value.Value.(ast.Object).Foreach(func(k, v *ast.Term) { doc = append(doc, [2]*ast.Term{k, v}) })
	doc.member("time", ast.NewObject(now...))
	return sealed(ast.NewObject(doc...))
}

func (o *object) file(a carrel.Action, known *classTable) {
	parts := foldPath(a.Path)
	o.text("path", a.Path)
	o.outside("raw_path", a.RawPath)
	o.strings("parts", parts)
	o.strings("classes", known.of(a.Path, parts))
	if len(a.Owners) > 0 {
		o.strings("owners", a.Owners)
	}
	if f := a.File; f != nil {
		var file object
		file.text("change", string(f.Change))
		file.state(f.FileState)
		var before object
		before.state(f.Before)
		file.member("before", ast.NewObject(before...))
		file.number("nlink", int64(f.Nlink))
		labels := make([]*ast.Term, len(f.Labels))
		for i, l := range f.Labels {
			var label object
			label.text("name", l.Name)
			label.text("severity", string(l.Severity))
			labels[i] = ast.NewTerm(ast.NewObject(label...))
		}
		file.member("labels", ast.NewArray(labels...))
		o.member("file", ast.NewObject(file...))
	}
}

func (o *object) state(s carrel.FileState) {
	o.text("kind", string(s.Kind))
	o.number("mode", int64(s.Mode))
	o.number("size", s.Size)
	o.text("digest", string(s.Digest))
	o.outside("target", s.Target)
}

func (o *object) destination(a carrel.Action) {
	o.text("host", a.Host)
	_, err := netip.ParseAddr(a.Host)
	o.boolean("host_is_address", err == nil)
	o.text("service", a.Service)
	if a.Operation == carrel.OpResolve {
		return
	}
	o.number("port", int64(a.Port))
	o.text("protocol", string(a.Protocol))
	if a.Operation == carrel.OpRequest || a.Operation == carrel.OpCredential {
		o.request(a)
	}
}

func (o *object) request(a carrel.Action) {
	o.text("method", a.Method)
	scheme := "http"
	if a.Protocol == carrel.ProtoTLS {
		scheme = "https"
	}
	o.text("scheme", scheme)
	o.outside("url", a.URL)
	path, query, _ := strings.Cut(string(a.URL), "?")
	o.outside("path", carrel.Text(path))
	o.outside("query", carrel.Text(query))
	o.strings("headers", a.Headers)
	o.number("body_size", a.BodySize)
	o.text("upgrade", a.Upgrade)
}

func (o *object) publication(p carrel.Publication) {
	var counts object
	for name, n := range p.Risk.Counts {
		counts.number(name, int64(n))
	}
	var risk object
	risk.text("level", string(p.Risk.Level))
	risk.member("counts", ast.NewObject(counts...))
	var pub object
	pub.text("change", string(p.Change))
	pub.text("digest", string(p.Digest))
	pub.text("target", p.Target)
	pub.boolean("auto", p.Auto)
	pub.number("files", int64(p.Files))
	pub.number("withheld", int64(p.Withheld))
	pub.member("risk", ast.NewObject(risk...))
	o.member("publication", ast.NewObject(pub...))
}

func (o *object) attestation(t carrel.Attestation) {
	statements := make([]*ast.Term, len(t.Statements))
	for i, s := range t.Statements {
		var statement object
		statement.text("type", s.Type)
		statement.text("digest", string(s.Digest))
		statements[i] = ast.NewTerm(ast.NewObject(statement...))
	}
	var attestation object
	attestation.text("key", string(t.Key))
	attestation.member("statements", ast.NewArray(statements...))
	o.member("attestation", ast.NewObject(attestation...))
}

// badInput is an action that no policy may see.
type badInput struct{ field, why string }

func (e *badInput) Error() string { return fmt.Sprintf("%s %s", e.field, e.why) }

// notCarried is the error of a packet that the desk's network refused by
// itself: nothing is wrong with how it was asked.
type notCarried struct{ badInput }

func (e *notCarried) Unwrap() error { return &e.badInput }
