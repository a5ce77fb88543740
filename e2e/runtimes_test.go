//go:build linux

package e2e

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/internal/needs"
)

// runtime is a program with a way of its own to trust authorities. ask is a
// shell command that asks for $GOOD and $BAD and prints what it is answered;
// $BIN is the program.
type runtime struct {
	name, ask string
	find      func(h *host) (program string, shown []string) // what --ro must show
}

var runtimes = []runtime{
	{"deno", `"$BIN" eval 'for (const url of ["GOOD", "BAD"]) console.log(await (await fetch(Deno.env.get(url))).text())'`, npmProgram("deno@2.9.6", "@deno/linux-x64-glibc/deno")},
	{"bun", `"$BIN" -e 'for (const url of ["GOOD", "BAD"]) console.log(await (await fetch(process.env[url])).text())'`, npmProgram("bun@1.4.5", "bun/bin/bun.exe")},
	{"java", `cat > /tmp/Get.java <<'J'
import java.net.*; import java.net.http.*;
class Get {
  public static void main(String[] args) throws Exception {
    for (String url : args)
      System.out.println(HttpClient.newHttpClient().send(HttpRequest.newBuilder(URI.create(url)).build(), HttpResponse.BodyHandlers.ofString()).body());
  }
}
J
"$BIN" -XX:TieredStopAtLevel=1 /tmp/Get.java "$GOOD" "$BAD"`, hostProgram("java")},
	{"aws", `export AWS_MAX_ATTEMPTS=1; for url in "$GOOD" "$BAD"; do "$BIN" --region us-east-1 --no-sign-request --endpoint-url "${url%/*}" --debug s3api list-objects --bucket "${url##*/}" 2>&1; done; true`, hostProgram("aws")},
}

// npmProgram is a program that comes in an npm package.
func npmProgram(pkg, path string) func(h *host) (string, []string) {
	return func(h *host) (string, []string) {
		dir := installed(h.T, pkg, func(dir string) error {
			return loudly(dir, "npm", "install", "--prefix", dir, "--no-audit", "--no-fund", pkg)
		})
		program := h.dir + "/" + filepath.Base(path)
		if err := loudly(h.dir, "cp", dir+"/node_modules/"+path, program); err != nil { // users may not look into root's cache
			h.Fatal(err)
		}
		return program, []string{program}
	}
}

// hostProgram is a program of this machine, where every desk sees it.
func hostProgram(name string) func(h *host) (string, []string) {
	return func(h *host) (string, []string) {
		path := "/usr/bin/" + name
		needs.Tool(h.T, path)
		return path, nil
	}
}

// Runtimes that trust other authorities than the system's, each by its usual
// way: what a rule by request grants works with each, and what it does not is
// explained to each.
func TestOtherRuntimesTrustTheAuthorityOfTheRun(t *testing.T) {
	for _, r := range runtimes {
		t.Run(r.name, func(t *testing.T) {
			h := asUser(t)
			program, shown := r.find(h)
			n := newInternet(h, publicRule)
			asked := n.shop("example.com")
			flags := []string{"--env", "BIN=" + program}
			for _, path := range shown {
				flags = append(flags, "--ro", path)
			}
			out := h.inside(r.ask, append(flags, "--env", "GOOD=https://example.com/public/a", "--env", "BAD=https://example.com/private/a")...)
			h.expect(out, 0, "GET /public/a")
			if !strings.Contains(out.out, "egress/request") || !asked.has("GET", "/public/a") || asked.has("private") {
				h.Errorf("what is not granted: %s\n%s", out, asked)
			}
		})
	}
}
