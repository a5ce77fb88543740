package policy

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
)

// The names of a bundle's own files, as the OPA project gave them.
const (
	manifestFile   = ".manifest"
	signaturesFile = ".signatures.json"
)

// maxBundle bounds a bundle once it is unpacked.
const maxBundle = 16 << 20

// IsBundle reports whether a path is of a bundle and not of Rego.
func IsBundle(path string) bool {
	return strings.HasSuffix(path, ".tar.gz") || strings.HasSuffix(path, ".tgz")
}

// FromBundle reads a layer from an OPA bundle, a gzipped tar, whose signature
// one of the keys must have made over every file in it. A bundle that is not
// signed, or whose signature leaves anything to guess, is an error.
func FromBundle(name string, kind Kind, path string, keys []Key) (Layer, error) {
	l := Layer{Name: name, Kind: kind, Bundle: path}
	f, err := os.Open(path)
	if err != nil {
		return l, fmt.Errorf("reading policy bundle: %w", err)
	}
	defer f.Close()
	files, err := unpack(f)
	if err == nil {
		l.SignedBy, err = verifyBundle(files, keys)
	}
	if err == nil {
		err = l.fill(files)
	}
	if err != nil {
		return l, fmt.Errorf("policy bundle %s: %w", path, err)
	}
	return l, nil
}

// unpack reads the files of a bundle. It refuses everything that two readers
// could take for different files.
func unpack(r io.Reader) (map[string][]byte, error) {
	zipped, err := gzip.NewReader(r)
	if err != nil {
		return nil, fmt.Errorf("not a gzipped tar: %w", err)
	}
	files := map[string][]byte{}
	left := int64(maxBundle)
	for archive := tar.NewReader(io.LimitReader(zipped, 2*maxBundle)); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, fmt.Errorf("not a gzipped tar: %w", err)
		}
		name := strings.TrimPrefix(strings.TrimPrefix(header.Name, "/"), "./")
		switch {
		case header.Typeflag == tar.TypeDir:
			continue
		case header.Typeflag != tar.TypeReg:
			return nil, fmt.Errorf("%q is not a regular file", name)
		case name == "" || path.Clean("/"+name) != "/"+name:
			return nil, fmt.Errorf("%q is not a clean name", header.Name)
		case files[name] != nil:
			return nil, fmt.Errorf("%s is there twice", name)
		case len(files) >= maxFiles+10:
			return nil, fmt.Errorf("more than %d files", maxFiles)
		}
		content, err := io.ReadAll(io.LimitReader(archive, left+1))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if left -= int64(len(content)); left < 0 {
			return nil, fmt.Errorf("more than %d bytes", maxBundle)
		}
		files[name] = append([]byte{}, content...) // an empty file is there, too
	}
}

// fill makes the layer of verified files.
func (l *Layer) fill(files map[string][]byte) error {
	data := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		switch base := path.Base(name); {
		case name == manifestFile:
			var manifest struct{ Revision string }
			if err := json.Unmarshal(files[name], &manifest); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			l.Revision = manifest.Revision
		case name == signaturesFile || strings.HasSuffix(name, "_test.rego"):
		case strings.HasSuffix(name, ".rego"):
			l.Files = append(l.Files, File{Name: name, Source: files[name]})
		case base == "data.json": // verifyBundle takes none in YAML
			if err := addData(data, path.Dir(name), files[name]); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		default: // patch.json of a delta, policy.wasm, plan.json
			return fmt.Errorf("%s is no part of a policy here: only Rego and data are, and only whole", name)
		}
	}
	if l.Revision == "" {
		return errors.New("its .manifest names no revision, so an older one could take its place")
	}
	if len(data) > 0 {
		var err error
		l.Data, err = json.Marshal(data)
		return err
	}
	return nil
}

// addData puts a document where its directory says.
func addData(root map[string]any, dir string, raw []byte) error {
	read, err := readDocument(raw)
	if err != nil {
		return err
	}
	doc, ok := read.(map[string]any)
	if !ok {
		return errors.New("not a JSON object")
	}
	at := root
	if dir != "." {
		for step := range strings.SplitSeq(dir, "/") {
			next, ok := at[step].(map[string]any)
			if at[step] != nil && !ok {
				return fmt.Errorf("%s is there twice", step)
			}
			if !ok {
				next = map[string]any{}
				at[step] = next
			}
			at = next
		}
	}
	for k, v := range doc {
		if at[k] != nil {
			return fmt.Errorf("%s is there twice", k)
		}
		at[k] = v
	}
	return nil
}

// WriteBundle writes the sources and tests below dir, or the file dir, as a
// signed bundle.
func WriteBundle(w io.Writer, dir, revision string, key SigningKey) error {
	if revision == "" {
		return errors.New("a bundle needs a revision: what is loaded once is never replaced by an older one")
	}
	l, err := FromPath("user", User, dir)
	if err != nil {
		return err
	}
	if _, err := parseLayer(l); err != nil { // whether it compiles, who loads it finds out
		return err
	}
	manifest, err := json.Marshal(map[string]any{"revision": revision, "roots": []string{""}})
	if err != nil {
		return err
	}
	files := map[string][]byte{manifestFile: manifest}
	for _, f := range l.Files {
		files[f.Name] = f.Source
	}
	if len(l.Data) > 0 {
		files["data.json"] = l.Data
	}
	if files[signaturesFile], err = signBundle(files, key); err != nil {
		return err
	}
	return pack(w, files)
}

// pack writes files in a fixed order and without times, so that the same
// policy is the same bytes, but for the signature.
func pack(w io.Writer, files map[string][]byte) error {
	zipped := gzip.NewWriter(w)
	archive := tar.NewWriter(zipped)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		header := &tar.Header{Name: "/" + name, Mode: 0o644, Size: int64(len(files[name])), Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}
		if err := archive.WriteHeader(header); err != nil {
			return fmt.Errorf("writing the bundle: %w", err)
		}
		if _, err := io.Copy(archive, bytes.NewReader(files[name])); err != nil {
			return fmt.Errorf("writing the bundle: %w", err)
		}
	}
	return errors.Join(archive.Close(), zipped.Close())
}

// OlderRevision reports whether a comes before b: numbers in them are compared
// as numbers, the rest as text.
func OlderRevision(a, b string) bool {
	for a != "" && b != "" {
		var partA, partB string
		partA, a = revisionPart(a)
		partB, b = revisionPart(b)
		if partA == partB {
			continue
		}
		if isDigit(partA[0]) && isDigit(partB[0]) {
			partA, partB = strings.TrimLeft(partA, "0"), strings.TrimLeft(partB, "0")
			if len(partA) != len(partB) {
				return len(partA) < len(partB)
			}
			if partA == partB {
				continue
			}
		}
		return partA < partB
	}
	return a == "" && b != ""
}

// revisionPart splits off the leading digits, or what is before the next digit.
func revisionPart(s string) (part, rest string) {
	i := 1
	for i < len(s) && isDigit(s[i]) == isDigit(s[0]) {
		i++
	}
	return s[:i], s[i:]
}

func isDigit(b byte) bool { return '0' <= b && b <= '9' }
