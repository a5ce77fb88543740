//go:build linux

package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// crowd is many runs at once, of one installation, in a few workspaces. Every
// run has a service of its own under one name and port, a path of its own at
// one inspected host, and a key of its own for it.
type crowd struct {
	*host
	port string
	seen *seen // what the inspected host got

	mu    sync.Mutex
	at    map[string]map[int]bool // who has come to a meeting point
	moved chan struct{}           // closed and renewed when that changes
}

const (
	crowdSize       = 24
	crowdWorkspaces = 4
)

func newCrowd(h *host) *crowd {
	h.Helper()
	c := &crowd{host: h, seen: &seen{}, at: map[string]map[int]bool{}, moved: make(chan struct{})}
	n := newInternet(h, "")
	n.serve("one.test", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.seen.add(r)
		fmt.Fprintf(w, "site %s %s\n", r.URL.Path, keyMark(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")))
	}))
	for i := range crowdSize {
		c.serveOne(i)
		c.write(c.config(i)+"/carrel/ca.pem", h.read("config/carrel/ca.pem"))
		c.write(c.config(i)+"/carrel/config.yaml", h.read("config/carrel/config.yaml")+fmt.Sprintf(`egress: [{host: one.test, methods: [GET], paths: ["/id/%[1]d"]}]
credentials: [{name: key, host: one.test, paths: ["/id/%[1]d"], from: {env: ONE_KEY}, as: {env: ONE_TOKEN}}]
`, i))
	}
	for w := range crowdWorkspaces {
		h.git("clone", "-q", h.repo, c.workspace(w))
	}
	return c
}

func (c *crowd) config(i int) string { return fmt.Sprintf("config-%d", i) }
func (c *crowd) workspace(i int) string {
	return fmt.Sprintf("%s/workspace-%d", c.dir, i%crowdWorkspaces)
}

func key(i int) string { return fmt.Sprintf("ghp_%02dR4nd0mCanaryKeyAbCdEfGhIjKlMnOpQr", i) }

// keyMark tells which key came without saying the key, which would be removed.
func keyMark(key string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(key)))[:12] }

// serveOne is run i's own server: at the same port as everybody's, at another
// address of loopback.
func (c *crowd) serveOne(i int) {
	c.Helper()
	port := "0"
	if c.port != "" {
		port = c.port
	}
	l, err := net.Listen("tcp", net.JoinHostPort(own(i), port))
	if err != nil {
		c.Fatal(err)
	}
	_, c.port, _ = net.SplitHostPort(l.Addr().String())
	mux := http.NewServeMux()
	mux.HandleFunc("/who", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, "service %d\n", i) })
	mux.HandleFunc("/meet/{point}", func(w http.ResponseWriter, r *http.Request) { c.meet(r.Context(), r.PathValue("point"), i) })
	mux.HandleFunc("/endless", func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			fmt.Fprintf(w, "service %d\n", i)
			_ = http.NewResponseController(w).Flush()
			time.Sleep(5 * time.Millisecond)
		}
	})
	s := &http.Server{Handler: mux}
	c.Cleanup(func() { s.Close() })
	go s.Serve(l)
}

func own(i int) string { return fmt.Sprintf("127.0.10.%d", i+1) }

// come notes that somebody is at a meeting point.
func (c *crowd) come(point string, who int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at[point] == nil {
		c.at[point] = map[int]bool{}
	}
	c.at[point][who] = true
	close(c.moved)
	c.moved = make(chan struct{})
}

// count waits until n have come to a point, and reports whether they did.
func (c *crowd) count(ctx context.Context, point string, n int) bool {
	for {
		c.mu.Lock()
		here, moved := len(c.at[point]), c.moved
		c.mu.Unlock()
		if here >= n {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-moved:
		}
	}
}

// meet holds a run until the test lets it go on.
func (c *crowd) meet(ctx context.Context, point string, who int) {
	c.come(point, who)
	c.count(ctx, point+" go", 1)
}

// run starts run i. What it prints and how it ends comes later.
func (c *crowd) run(ctx context.Context, i int, script string) *member {
	c.Helper()
	m := &member{crowd: c, i: i, file: fmt.Sprintf("%s/result-%d.json", c.dir, i), done: make(chan struct{})}
	cmd := c.command(ctx, carrelBin, "run", "--host-service", "mine="+net.JoinHostPort(own(i), c.port), "--limit", "memory=1G", "--limit-best-effort",
		"--result", m.file, "--", "bash", "-c", fmt.Sprintf("S=http://mine.desk:%s; I=%d; get() { curl -sS -m %.0f \"$@\"; };\n%s", c.port, i, longest.Seconds(), script))
	cmd.Dir = c.workspace(i)
	cmd.Env = append(cmd.Env, "XDG_CONFIG_HOME="+c.dir+"/"+c.config(i), "ONE_KEY="+key(i))
	cmd.Stdout, cmd.Stderr = &m.out, &m.err
	if err := cmd.Start(); err != nil {
		c.Fatal(err)
	}
	m.pid = cmd.Process.Pid
	go func() {
		_ = cmd.Wait()
		m.code = cmd.ProcessState.ExitCode()
		close(m.done)
	}()
	return m
}

// member is one run of a crowd.
type member struct {
	*crowd
	i, pid   int
	out, err strings.Builder // to be read when done
	file     string
	code     int
	done     chan struct{}
}

// outcome is what --result says of a run.
type outcome struct {
	Run    string
	Change *struct{ ID string }
}

func (m *member) outcome() (o outcome) {
	m.Helper()
	<-m.done
	b, err := os.ReadFile(m.file)
	if err == nil {
		err = json.Unmarshal(b, &o)
	}
	if err != nil {
		m.Errorf("run %d: exit %d: %v\n%s%s", m.i, m.code, err, m.out.String(), m.err.String())
	}
	return o
}

// everybody waits for all, and lets them go on.
func (c *crowd) everybody(point string, n int, meanwhile func()) {
	c.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), longest/2)
	defer cancel()
	if !c.count(ctx, point, n) {
		c.Errorf("not all of %d came to %s: %v", n, point, c.at[point])
	}
	meanwhile()
	c.come(point+" go", 0)
}

// Two dozen runs at once, in four workspaces, with the same names leading each
// of them elsewhere: each gets its own services, paths, keys and files, the
// log has every run whole, and nothing is left of them.
func TestParallelRunsDoNotMix(t *testing.T) {
	asEachUser(t, func(h *host) {
		c := newCrowd(h)
		before := takeStock(h)
		ctx, cancel := context.WithTimeout(context.Background(), 2*longest)
		defer cancel()
		const script = `get $S/meet/start
			for n in 1 2 3; do get $S/who; get -H "Authorization: Bearer $ONE_TOKEN" https://one.test/id/$I; done
			get -o /dev/null -w 'other %{http_code}\n' https://one.test/id/$(( (I + 1) % 24 ))
			get $S/meet/middle
			for n in 1 2 3 4 5 6 7 8; do get $S/who; done
			echo $I > work-$I; echo files $(ls | grep work-); get $S/meet/end`
		var crowd []*member
		for i := range crowdSize {
			crowd = append(crowd, c.run(ctx, i, script))
		}
		spaces, open := map[string]int{}, map[int]int{}
		c.everybody("start", crowdSize, func() {
			for _, m := range crowd {
				noteNamespaces(spaces, m.pid)
			}
		})
		c.everybody("middle", crowdSize, func() {
			for _, m := range crowd {
				open[m.pid] = descriptors(m.pid)
			}
		})
		c.everybody("end", crowdSize, func() {
			for _, m := range crowd {
				if n := descriptors(m.pid); n > open[m.pid]+4 { // what an idle connection keeps
					c.Errorf("run %d: %d descriptors of the supervisor were open, after eight connections more %d", m.i, open[m.pid], n)
				}
			}
		})
		for _, m := range crowd {
			c.checkMember(m)
		}
		if want := crowdSize * 5; len(spaces) < want { // user, mnt, net, pid, ipc of each
			c.Errorf("%d namespaces, want %d", len(spaces), want)
		}
		c.nothingIsLeft(before, spaces)
		c.checkLog(crowd)
	})
}

// checkMember checks what one run got and made.
func (c *crowd) checkMember(m *member) {
	c.Helper()
	o := m.outcome()
	want := strings.Repeat(fmt.Sprintf("service %d\nsite /id/%d %s\n", m.i, m.i, keyMark(key(m.i))), 3) + "other 403\n" +
		strings.Repeat(fmt.Sprintf("service %d\n", m.i), 8) + fmt.Sprintf("files work-%d\n", m.i)
	if m.code != 0 || m.out.String() != want {
		c.Errorf("run %d: exit %d, got\n%swant\n%s%s", m.i, m.code, m.out.String(), want, m.err.String())
	}
	if o.Change == nil {
		c.Errorf("run %d: no change", m.i)
		return
	}
	r := c.inWorkspace(m.i, "review", o.Change.ID, "--json")
	var shown change
	if err := json.Unmarshal([]byte(r.out), &shown); err != nil || len(shown.Files) != 1 || string(shown.Files[0].Path) != fmt.Sprintf("work-%d", m.i) {
		c.Errorf("run %d: its change: %v\n%s", m.i, err, r)
	}
}

func (c *crowd) inWorkspace(i int, args ...string) result {
	c.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	cmd := c.command(ctx, carrelBin, args...)
	cmd.Dir = c.workspace(i)
	return c.finish(cmd)
}

// checkLog checks the log as a whole, and that every run is in it from its
// first record to the one that says how many there are.
func (c *crowd) checkLog(crowd []*member) {
	c.Helper()
	var verified struct {
		OK            bool
		Runs          int
		Open, Unknown []string
	}
	if err := json.Unmarshal([]byte(c.must("log", "verify", "--json").out), &verified); err != nil || !verified.OK || verified.Runs < len(crowd) || len(verified.Open)+len(verified.Unknown) > 0 {
		c.Errorf("log verify: %v, %+v", err, verified)
	}
	type entry struct {
		Run  string
		Kind string
		Seq  int                   `json:"run_seq"`
		Info struct{ Records int } `json:"run_info"`
	}
	runs := map[string][]entry{}
	for dec := json.NewDecoder(strings.NewReader(c.must("log", "show", "--all", "--json").out)); ; {
		var e entry
		if err := dec.Decode(&e); err == io.EOF {
			break
		} else if err != nil {
			c.Fatal(err)
		}
		if e.Seq > 0 { // not what others say about it
			runs[e.Run] = append(runs[e.Run], e)
		}
	}
	for _, m := range crowd {
		entries := runs[m.outcome().Run]
		for n, e := range entries {
			if e.Seq != n+1 {
				c.Errorf("run %d: its record %d says it is %d", m.i, n+1, e.Seq)
			}
		}
		if n := len(entries); n == 0 || entries[n-1].Kind != "run.end" || entries[n-1].Info.Records != n {
			c.Errorf("run %d: the last of its %d records is %+v", m.i, n, entries[max(0, n-1):])
		}
	}
	for i := range crowdSize {
		for j := range crowdSize {
			if got := c.seen.has(fmt.Sprintf("/id/%d Bearer %s", i, key(j))); got != (i == j) {
				c.Errorf("the key of run %d came with the path of run %d: %v", j, i, got)
			}
		}
	}
}

// Supervisors that are killed in the middle of traffic take everything with
// them at once, their neighbours notice nothing, and the next command clears
// away what lies on the disk.
func TestKilledSupervisorsInTrafficLeaveNothing(t *testing.T) {
	asEachUser(t, func(h *host) {
		c := newCrowd(h)
		before := takeStock(h)
		ctx, cancel := context.WithTimeout(context.Background(), longest)
		defer cancel()
		const runs = 6
		var crowd []*member
		for i := range runs {
			crowd = append(crowd, c.run(ctx, i, `echo work > work-$I; (setsid curl -sN $S/endless >/dev/null &) ; curl -sN $S/endless > /dev/null & get $S/meet/start; get $S/who; get $S/meet/end; kill $!`))
		}
		spaces := map[string]int{}
		c.everybody("start", runs, func() {
			for _, m := range crowd[1:4] {
				noteNamespaces(spaces, m.pid)
			}
		})
		killed, spared := crowd[1:4], append(crowd[4:], crowd[0])
		for _, m := range killed {
			c.killOne(m)
		}
		eventually(c.T, 5*time.Second, func() error { return inUse(spaces) })
		c.come("end go", 0)
		for _, m := range spared {
			if m.outcome(); m.code != 0 || !strings.Contains(m.out.String(), fmt.Sprintf("service %d\n", m.i)) {
				c.Errorf("run %d, whose supervisor was not killed: exit %d\n%s%s", m.i, m.code, m.out.String(), m.err.String())
			}
		}
		c.must("run", "--", "true") // reaps
		c.nothingIsLeft(before, spaces)
		for _, m := range crowd[2:4] { // and the work goes on; at that of run 1 it may be run 5's
			if r := c.inWorkspace(m.i, "run", "--", "cat", fmt.Sprintf("work-%d", m.i)); r.out != "work\n" {
				c.Errorf("run %d: its work: %s", m.i, r)
			}
		}
		c.must("log", "verify")
	})
}

func (c *crowd) killOne(m *member) {
	c.Helper()
	p, err := os.FindProcess(m.pid)
	if err == nil {
		err = p.Kill()
	}
	if err != nil {
		c.Error(err)
	}
	<-m.done
}

// stock is what of a host's could be left behind outside of processes.
type stock struct {
	mounts, groups, links, sockets, runtime []string
}

func takeStock(h *host) stock {
	h.Helper()
	var s stock
	s.mounts = linesWith("/proc/self/mountinfo", h.dir)
	s.sockets = linesWith("/proc/net/unix", h.dir)
	for _, depth := range []string{"*", "*/*", "*/*/*"} {
		found, _ := filepath.Glob("/sys/fs/cgroup/" + depth + "/carrel-*-run_*")
		for _, g := range found {
			if entries, _ := filepath.Glob(h.dir + "/state/carrel/runs/" + g[strings.LastIndex(g, "run_"):] + "*"); len(entries) > 0 {
				s.groups = append(s.groups, g)
			}
		}
	}
	interfaces, _ := net.Interfaces()
	for _, i := range interfaces {
		s.links = append(s.links, i.Name)
	}
	s.runtime, _ = filepath.Glob(h.dir + "/state/carrel/runtime/*")
	more, _ := filepath.Glob(h.dir + "/runtime/*")
	s.runtime = append(s.runtime, more...)
	return s
}

func linesWith(file, word string) (lines []string) {
	b, _ := os.ReadFile(file)
	for line := range strings.Lines(string(b)) {
		if strings.Contains(line, word) {
			lines = append(lines, line)
		}
	}
	return lines
}

// nothingIsLeft compares the host with what it was, and looks for processes
// that are still in one of the namespaces.
func (c *crowd) nothingIsLeft(before stock, spaces map[string]int) {
	c.Helper()
	eventually(c.T, 5*time.Second, func() error { return inUse(spaces) })
	after := takeStock(c.host)
	for _, kind := range []struct {
		name          string
		before, after []string
	}{
		{"mounts", before.mounts, after.mounts}, {"cgroups", before.groups, after.groups}, {"interfaces", before.links, after.links},
		{"sockets", before.sockets, after.sockets}, {"files of runs", before.runtime, after.runtime},
	} {
		for _, left := range kind.after {
			if !slices.Contains(kind.before, left) {
				c.Errorf("%s: %s is left", kind.name, left)
			}
		}
	}
}

// noteNamespaces notes the namespaces of a process and of all below it that
// are not this test's own.
func noteNamespaces(spaces map[string]int, pid int) {
	links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/ns/*", pid))
	for _, link := range links {
		space, err := os.Readlink(link)
		ours, _ := os.Readlink("/proc/self/ns/" + filepath.Base(link))
		if err == nil && space != ours {
			spaces[space] = pid
		}
	}
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		b, _ := os.ReadFile(list)
		for _, child := range strings.Fields(string(b)) {
			noteNamespaces(spaces, number(child))
		}
	}
}

// inUse tells a process that is in one of the namespaces.
func inUse(spaces map[string]int) error {
	links, _ := filepath.Glob("/proc/[0-9]*/ns/*")
	for _, link := range links {
		if space, err := os.Readlink(link); err == nil {
			if of, ok := spaces[space]; ok {
				return fmt.Errorf("%s is %s, of the run of process %d, which has ended", link, space, of)
			}
		}
	}
	return nil
}

func descriptors(pid int) int {
	entries, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return len(entries)
}

// eventually waits until ok says nil.
func eventually(t *testing.T, limit time.Duration, ok func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if err = ok(); err == nil {
			return
		}
	}
	t.Error(err)
}
