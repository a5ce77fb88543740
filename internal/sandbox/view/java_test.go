package view

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The authority is added to what is there, any number of times, in the form
// that Java's own tool reads and whose digest it checks. Whether Java trusts
// it is tried with the real one, where there is one.
func TestJavaStoreWithAuthority(t *testing.T) {
	empty := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, jksMagic), jksVersion)
	empty = append(empty, make([]byte, 4+sha1.Size)...)
	own := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("certificate")}))
	once := withAuthority(empty, own, time.Now())
	twice := withAuthority(once, own, time.Now())
	if n := binary.BigEndian.Uint32(twice[8:]); n != 2 || bytes.Count(twice, []byte("certificate")) != 2 || !bytes.HasPrefix(twice[jksHead:], once[jksHead:len(once)-sha1.Size]) {
		t.Errorf("%d entries: %q", n, twice)
	}
	for _, other := range [][]byte{nil, empty[:20], append([]byte{0x30, 0x82}, empty...)} {
		if withAuthority(other, own, time.Now()) != nil {
			t.Errorf("%q was taken for a store", other)
		}
	}
	system, err := os.ReadFile(javaStores[0])
	if err != nil {
		return
	}
	tool, err := exec.LookPath("keytool")
	if err != nil {
		return
	}
	path := filepath.Join(t.TempDir(), "cacerts")
	pemOf, _, _ := strings.Cut(bundle(systemBundles[0]), "-----END CERTIFICATE-----\n")
	if err := os.WriteFile(path, withAuthority(system, pemOf+"-----END CERTIFICATE-----\n", time.Now()), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(tool, "-J-XX:TieredStopAtLevel=1", "-list", "-keystore", path, "-storepass", jksPassword).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "carrel-run-") {
		t.Errorf("keytool: %v\n%s", err, out)
	}
}
