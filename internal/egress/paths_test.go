package egress

import "testing"

func TestPathsHoldForOneSpellingOnly(t *testing.T) {
	match, err := Paths([]string{"/repos/acme/app/**", "/user", "/@acme/*"})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{
		"/repos/acme/app": true, "/repos/acme/app/issues/1": true, "/user": true, "/@acme/pkg": true,
		"/": false, "/user/keys": false, "/USER": false, "/repos/acme/other": false, "/repos/acme/app2": false,
		"/repos/acme/app/../other": false, "/repos/acme/app/%2e%2e/other": false, "/repos/acme/app//x": false,
		"/repos/acme/app/..%2Fother": false, "/repos/acme/app/x%2F..%2F..%2Fother": false, "/repos/acme%2Fapp": false, `/repos/acme/app/..\other`: false,
	} {
		if match(path) != want {
			t.Errorf("%s: %v", path, !want)
		}
	}
	if all, err := Paths(nil); err != nil || !all("/anything") {
		t.Error("no patterns are for every path")
	}
	if _, err := Paths([]string{"relative"}); err == nil {
		t.Error("a relative pattern was accepted")
	}
}
