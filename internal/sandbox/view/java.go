package view

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"encoding/pem"
	"os"
	"path/filepath"
	"strconv"
	"time"
	"unicode/utf16"
)

// javaStores are where systems keep the authorities that every Java trusts.
var javaStores = []string{"/etc/ssl/certs/java/cacerts", "/etc/pki/ca-trust/extracted/java/cacerts", "/etc/pki/java/cacerts"}

// java lets Java programs, which look at no variable and no bundle, trust the
// authority of the run besides those of the system's store.
func (b *builder) java(own string) {
	shown := map[string]bool{}
	for _, path := range javaStores {
		final, err := filepath.EvalSymlinks(path)
		if err != nil || shown[final] {
			continue
		}
		store, err := os.ReadFile(final)
		if err != nil || len(store) > maxBundle {
			continue
		}
		if more := withAuthority(store, own, time.Now()); more != nil {
			shown[final] = true
			b.file(final, string(more), "Java's authorities and the run's own")
		}
	}
}

// The parts of a Java key store (JKS) that hold certificates: a head of magic,
// version and number of entries, the entries, and a digest over a password
// and all that. Java reads system stores without the password.
const (
	jksMagic, jksVersion = 0xFEEDFEED, 2
	jksHead              = 12
	jksPassword          = "changeit" // of every system store
	jksSalt              = "Mighty Aphrodite"
	jksCertificate       = 2 // the kind of entry
)

// withAuthority adds the certificates of a PEM text to a key store; nil if it
// is of another kind.
func withAuthority(store []byte, text string, now time.Time) []byte {
	if len(store) < jksHead+sha1.Size || binary.BigEndian.Uint32(store) != jksMagic || binary.BigEndian.Uint32(store[4:]) != jksVersion {
		return nil
	}
	out := bytes.Clone(store[:len(store)-sha1.Size])
	count := binary.BigEndian.Uint32(store[8:])
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		count++
		out = binary.BigEndian.AppendUint32(out, jksCertificate)
		out = appendUTF(out, "carrel-run-"+strconv.Itoa(int(count)))
		out = binary.BigEndian.AppendUint64(out, uint64(now.UnixMilli()))
		out = appendUTF(out, "X.509")
		out = binary.BigEndian.AppendUint32(out, uint32(len(block.Bytes)))
		out = append(out, block.Bytes...)
	}
	binary.BigEndian.PutUint32(out[8:], count)
	sum := sha1.New()
	for _, unit := range utf16.Encode([]rune(jksPassword)) {
		sum.Write([]byte{byte(unit >> 8), byte(unit)})
	}
	sum.Write([]byte(jksSalt))
	sum.Write(out)
	return sum.Sum(out)
}

func appendUTF(out []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(out, uint16(len(s))), s...)
}
