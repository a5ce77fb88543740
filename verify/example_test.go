package verify_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/carrel-dev/carrel/verify"
)

// Check an evidence pack with keys that came another way.
func ExamplePack_Check() {
	dir := filepath.Join("..", "spec", "vectors", "evidence")
	pem, err := os.ReadFile(filepath.Join(dir, verify.KeyFile)) // not from the pack, in earnest
	if err != nil {
		fmt.Println(err)
		return
	}
	key, err := verify.ParsePublicKey(pem)
	if err != nil {
		fmt.Println(err)
		return
	}
	pack, err := verify.OpenPack(dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	report, err := pack.Check(verify.Trust{Keys: []verify.PublicKey{key}})
	if err != nil {
		fmt.Println("the pack was tampered with:", err)
		return
	}
	fmt.Println(report.Run, "complete:", report.Complete, "commit:", report.Commit)
	for _, a := range report.Set.Provenance.Build.Internal.Approvals {
		fmt.Println("approved by", a.By)
	}
	// Output:
	// run_01jd3m0000000000000000000g complete: true commit: 1111111111111111111111111111111111111111
	// approved by 1000:u
}

// Check one attestation, and that it is about the file at hand.
func ExampleBundle_Verify() {
	dir := filepath.Join("..", "spec", "vectors", "evidence")
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			fmt.Println(err)
		}
		return b
	}
	key, err := verify.ParsePublicKey(read(verify.KeyFile))
	if err != nil {
		fmt.Println(err)
		return
	}
	bundle, err := verify.ParseBundle(read("provenance.sigstore.json"))
	if err != nil {
		fmt.Println(err)
		return
	}
	statement, err := bundle.Verify(key)
	if err != nil {
		fmt.Println(err)
		return
	}
	var p verify.Provenance
	if err := statement.Read(verify.TypeProvenance, &p); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(p.Build.External.Target.Repository, p.Build.Internal.Sandbox.Tier)
	// Output: https://git.example.test/p.git native
}
