package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// postgres is a server of its own on a socket in dir.
type postgres struct {
	cmd  *exec.Cmd
	pool *pgxpool.Pool
}

// openPostgres makes and starts a cluster. The server refuses to run as root,
// so root runs it as nobody.
func openPostgres(dir string, writers int) (appender, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(found) == 0 {
		return nil, fmt.Errorf("apt-get install postgresql")
	}
	bin := filepath.Dir(found[len(found)-1])
	data, who := filepath.Join(dir, "data"), &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if os.Getuid() == 0 {
		const nobody = 65534
		who.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
		if err := os.Chown(dir, nobody, nobody); err != nil {
			return nil, err
		}
		for up := dir; up != "/"; up = filepath.Dir(up) { // it must be able to get there
			if info, err := os.Stat(up); err == nil && info.Mode().Perm()&0o005 != 0o005 && strings.HasPrefix(up, os.TempDir()+"/") {
				_ = os.Chmod(up, info.Mode().Perm()|0o005)
			}
		}
	}
	init := exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-U", "bench", "-A", "trust", "--no-sync")
	init.Dir, init.SysProcAttr = dir, who
	if out, err := init.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	p := &postgres{cmd: exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-k", dir, "-c", "listen_addresses=", "-c", fmt.Sprint("max_connections=", writers+10))}
	p.cmd.Dir, p.cmd.SysProcAttr = dir, who
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	return p, p.connect(dir, writers)
}

func (p *postgres) connect(dir string, writers int) error {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, fmt.Sprintf("host=%s user=bench dbname=postgres pool_max_conns=%d", dir, writers))
	if err != nil {
		return err
	}
	p.pool = pool
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		_, err := pool.Exec(ctx, "CREATE TABLE log (n bigserial PRIMARY KEY, record bytea)")
		if err == nil || time.Now().After(end) {
			return err
		}
	}
}

func (p *postgres) append(ctx context.Context, record []byte) error {
	_, err := p.pool.Exec(ctx, "INSERT INTO log (record) VALUES ($1)", record)
	return err
}

func (p *postgres) close() error {
	p.pool.Close()
	_ = p.cmd.Process.Signal(syscall.SIGINT)
	return p.cmd.Wait()
}
