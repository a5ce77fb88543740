package verify

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"
	"text/tabwriter"
)

// tampered counts what was done to one file.
type tampered struct{ flipped, dropped, truncated, swapped, replaced, found int }

// A pack in which anything was changed does not verify: neither with the keys
// that are trusted nor with those that came with it.
func TestTamperedPackIsFound(t *testing.T) {
	p, trust := fixturePack(t)
	counts := map[string]*tampered{}
	for _, name := range p.names() {
		counts[name] = &tampered{}
	}
	try := func(name, how string, altered Pack) {
		t.Helper()
		for whose, tr := range map[string]Trust{"trusted keys": trust, "its own keys": {}} {
			if !*everyBit && len(tr.Keys) > 0 {
				continue // trusting less finds less
			}
			if r, err := altered.Check(tr); err == nil {
				t.Errorf("%s: %s, and it verifies with %s: %+v", name, how, whose, r)
				return
			}
		}
		counts[name].found++
	}
	for _, name := range p.names() {
		c := counts[name]
		flipBits(p, name, func(how string, altered Pack) { c.flipped++; try(name, how, altered) })
		dropped := maps.Clone(p)
		delete(dropped, name)
		c.dropped++
		try(name, "dropped", dropped)
		for _, n := range cuts(len(p[name])) {
			altered := maps.Clone(p)
			altered[name] = p[name][:n]
			c.truncated++
			try(name, fmt.Sprintf("cut to %d bytes", n), altered)
		}
		for _, other := range p.names() {
			if other == name || bytes.Equal(p[name], p[other]) {
				continue
			}
			altered := maps.Clone(p)
			altered[name], altered[other] = p[other], p[name]
			c.swapped++
			try(name, "swapped with "+other, altered)
		}
	}
	replay(t, p, counts, try)
	if *everyBit {
		printTampered(counts)
	}
}

// flipBits flips every bit, or, unless asked for all, one of each byte.
func flipBits(p Pack, name string, try func(how string, altered Pack)) {
	for i := range p[name] {
		for bit := range 8 {
			if !*everyBit && bit != i%8 {
				continue
			}
			altered := maps.Clone(p)
			content := bytes.Clone(p[name])
			content[i] ^= 1 << bit
			altered[name] = content
			try(fmt.Sprintf("bit %d of byte %d flipped", bit, i), altered)
		}
	}
}

func cuts(size int) []int {
	var out []int
	for n := 0; n < size; n++ {
		if *everyBit || n < 3 || n > size-3 || n%97 == 0 {
			out = append(out, n)
		}
	}
	return out
}

// replay puts files of another, equally right pack into this one: of the same
// run, packed later, and of the same story told by another key.
func replay(t *testing.T, p Pack, counts map[string]*tampered, try func(name, how string, altered Pack)) {
	private, _ := signingKey(t, 1)
	s := newStory(t)
	s.set(private) // attested before, and again
	later := s.pack(private, s.set(private))
	if _, err := later.Check(Trust{}); err != nil {
		t.Fatal(err)
	}
	for _, name := range p.names() {
		if bytes.Equal(p[name], later[name]) {
			continue
		}
		altered := maps.Clone(p)
		altered[name] = later[name]
		counts[name].replaced++
		try(name, "replaced by that of another pack", altered)
	}
	// The whole signed list of one, with the files of the other.
	mixed := maps.Clone(p)
	for _, name := range []string{ManifestFile, ManifestName + BundleSuffix, ManifestName + ProofSuffix} {
		mixed[name] = later[name]
	}
	counts[ManifestFile].replaced++
	try(ManifestFile, "replaced with its signature by those of another pack", mixed)
}

// printTampered prints the table of `make tamper`.
func printTampered(counts map[string]*tampered) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "file\tbits flipped\tdropped\ttruncated\tswapped\treplayed\tfound\t")
	var all tampered
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		c := counts[name]
		fmt.Fprintf(w, "%.40s\t%d\t%d\t%d\t%d\t%d\t%d\t\n", name, c.flipped, c.dropped, c.truncated, c.swapped, c.replaced, c.found)
		all.flipped, all.dropped, all.truncated = all.flipped+c.flipped, all.dropped+c.dropped, all.truncated+c.truncated
		all.swapped, all.replaced, all.found = all.swapped+c.swapped, all.replaced+c.replaced, all.found+c.found
	}
	fmt.Fprintf(w, "all\t%d\t%d\t%d\t%d\t%d\t%d\t\n", all.flipped, all.dropped, all.truncated, all.swapped, all.replaced, all.found)
	w.Flush()
}

// An archive with a flipped bit is refused, or holds the very same files: some
// bits of a compressed stream say nothing about its content.
func TestTamperedArchiveIsFound(t *testing.T) {
	p, trust := fixturePack(t)
	var archive bytes.Buffer
	if err := p.WriteArchive(&archive); err != nil {
		t.Fatal(err)
	}
	raw := archive.Bytes()
	same := 0
	step := 7
	if *everyBit {
		step = 1
	}
	for i := 0; i < len(raw)*8; i += step {
		flipped := bytes.Clone(raw)
		flipped[i/8] ^= 1 << (i % 8)
		got, err := ReadArchive(bytes.NewReader(flipped))
		if err == nil {
			_, err = got.Check(trust)
		}
		if err != nil {
			continue
		}
		same++
		for name := range p {
			if !bytes.Equal(got[name], p[name]) {
				t.Fatalf("bit %d of byte %d flipped: %s is another, and verifies", i%8, i/8, name)
			}
		}
	}
	for n := 0; n < len(raw); n += 1 + step*3 {
		if got, err := ReadArchive(bytes.NewReader(raw[:n])); err == nil {
			if _, err := got.Check(trust); err == nil {
				t.Errorf("cut to %d of %d bytes it verifies", n, len(raw))
			}
		}
	}
	if *everyBit {
		fmt.Printf("archive: %d bits flipped, %d of them change nothing, the rest found\n", len(raw)*8, same)
	}
}
