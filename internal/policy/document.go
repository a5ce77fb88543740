package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/carrel-dev/carrel"
)

// MaxDocument bounds an input that is read as JSON, in bytes: a little more
// than the largest exec.
const MaxDocument = 1 << 20

// Document is an input as people, tests and other programs write it: the
// fields of spec/policy-input.md as JSON.
type Document struct {
	Action carrel.Action
	Time   time.Time // zero: now
	// Ignored are fields that no policy would ever see.
	Ignored []string
}

// ParseDocument reads one input. The error says which field is wrong; an
// action of which a field is missing or unclean is found by deciding it.
func ParseDocument(raw []byte) (Document, error) {
	if len(raw) > MaxDocument {
		return Document{}, &badInput{"size", fmt.Sprintf("is more than %d bytes", MaxDocument)}
	}
	canonical, err := carrel.Canonicalize(raw) // refuses duplicate members, which readers understand differently
	if err != nil {
		return Document{}, &badInput{"json", "cannot be read: " + err.Error()}
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(canonical, &fields); err != nil || fields == nil {
		return Document{}, &badInput{"json", "is not an object"}
	}
	d := documentReader{fields: fields}
	doc := d.read()
	if d.err != nil {
		return Document{}, d.err
	}
	if err := doc.checkDerived(d.derived); err != nil {
		return Document{}, err
	}
	doc.Ignored = slices.Sorted(maps.Keys(d.fields))
	return doc, nil
}

// documentReader takes the fields it knows out of fields and keeps the first
// error.
type documentReader struct {
	fields  map[string]json.RawMessage
	derived map[string]json.RawMessage // what Carrel computes itself
	err     error
}

// take reads one field into out. null is no value of any field.
func (d *documentReader) take(name string, out any, kind string) bool {
	raw, ok := d.fields[name]
	delete(d.fields, name)
	if !ok || d.err != nil {
		return false
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if string(raw) == "null" || dec.Decode(out) != nil {
		d.err = &badInput{name, "is not " + kind}
		return false
	}
	return true
}

const (
	aString = "a string"
	aText   = `a string or {"base64": …}`
)

func (d *documentReader) read() Document {
	var doc Document
	a := &doc.Action
	d.take("operation", &a.Operation, aString)
	d.take("agent", &a.Agent, aString)
	d.take("run", &a.Run, aString)
	if a.Operation == carrel.OpRequest || a.Operation == carrel.OpCredential {
		d.request(a)
	} else {
		d.take("path", &a.Path, aString)
	}
	if !d.take("raw_path", &a.RawPath, aText) && a.Operation != carrel.OpExec {
		a.RawPath = carrel.Text(a.Path)
	}
	d.take("owners", &a.Owners, "an array of strings")
	var file documentFile
	if d.take("file", &file, "an object of the fields that the specification names") {
		a.File = file.change(a.Path)
	}
	d.take("argv", &a.Argv, "an array of texts")
	d.take("cwd", &a.Cwd, aText)
	d.take("digest", &a.Executable, aString)
	d.take("host", &a.Host, aString)
	d.take("service", &a.Service, aString)
	d.take("port", &a.Port, "a number")
	d.take("protocol", &a.Protocol, aString)
	d.take("publication", &a.Publication, "an object of the fields that the specification names")
	d.take("attestation", &a.Attestation, "an object of the fields that the specification names")
	d.take("subject", &a.Subject, aString)
	d.take("subject_digest", &a.SubjectDigest, aString)
	d.take("reason", &a.Reason, aText)
	doc.Time = d.time()
	d.derived = map[string]json.RawMessage{}
	for _, name := range []string{"parts", "classes", "program", "programs", "host_is_address", "scheme", "path", "query"} {
		if raw, ok := d.fields[name]; ok {
			d.derived[name] = raw
			delete(d.fields, name)
		}
	}
	return doc
}

// request reads the fields of a request, whose URL may also be given as path
// and query.
func (d *documentReader) request(a *carrel.Action) {
	d.take("method", &a.Method, aString)
	d.take("headers", &a.Headers, "an array of strings")
	d.take("body_size", &a.BodySize, "a number")
	d.take("upgrade", &a.Upgrade, aString)
	if d.take("url", &a.URL, aText) {
		return
	}
	var query carrel.Text
	d.take("path", &a.URL, aText)
	if d.take("query", &query, aText) && query != "" {
		a.URL += "?" + query
	}
}

// time reads input.time: RFC 3339, or the object that policies see.
func (d *documentReader) time() time.Time {
	raw, ok := d.fields["time"]
	if !ok {
		return time.Time{}
	}
	var seen struct {
		At      string
		Date    string
		Weekday string
		Hour    int
		Minute  int
	}
	if len(raw) > 0 && raw[0] == '{' {
		d.take("time", &seen, "a time")
	} else {
		d.take("time", &seen.At, "a time")
	}
	at, err := time.Parse(time.RFC3339, seen.At)
	if err != nil && d.err == nil {
		d.err = &badInput{"time", "is not RFC 3339, as 2026-11-20T14:30:00+01:00"}
	}
	return at
}

// documentFile is input.file.
type documentFile struct {
	Change carrel.Alteration `json:"change"`
	carrel.FileState
	Before carrel.FileState `json:"before"`
	Nlink  int              `json:"nlink"`
	Labels []carrel.Label   `json:"labels"`
}

func (f documentFile) change(path string) *carrel.FileChange {
	return &carrel.FileChange{
		Path: carrel.Text(path), Change: f.Change, FileState: f.FileState, Before: f.Before, Nlink: f.Nlink, Labels: f.Labels,
	}
}

// checkDerived refuses a document that contradicts what Carrel computes, such
// as one with the parts of another path. An action that is malformed is left
// to the decision, which says what is wrong with it.
func (doc Document) checkDerived(derived map[string]json.RawMessage) error {
	if len(derived) == 0 {
		return nil
	}
	in, err := newInput(doc.Action)
	if err != nil {
		return nil
	}
	var computed map[string]json.RawMessage
	if err := json.Unmarshal(in.json, &computed); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(derived)) {
		if want, ok := computed[name]; ok && !bytes.Equal(want, derived[name]) {
			return &badInput{name, fmt.Sprintf("is %.200s, and follows from the other fields as %.200s; leave it out", derived[name], want)}
		}
	}
	return nil
}
