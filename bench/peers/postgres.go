// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// settings of a cluster that has the machine to itself: memory as PostgreSQL's
// documentation advises, checkpoints far apart, no log beyond what a crash needs.
// What is committed is on disk.
var settings = map[string]string{
	"synchronous_commit":           "on",
	"fsync":                        "on",
	"full_page_writes":             "on",
	"shared_buffers":               "4GB",
	"effective_cache_size":         "12GB",
	"work_mem":                     "256MB",
	"maintenance_work_mem":         "1GB",
	"wal_level":                    "minimal",
	"max_wal_senders":              "0",
	"wal_buffers":                  "64MB",
	"max_wal_size":                 "16GB",
	"checkpoint_timeout":           "30min",
	"checkpoint_completion_target": "0.9",
	"random_page_cost":             "1.1",
	"effective_io_concurrency":     "200",
	"max_connections":              "100",
	"jit":                          "off",
	"listen_addresses":             "",
}

// postgres is a private cluster in a temporary folder.
type postgres struct {
	folder string
	server *exec.Cmd
	ended  chan error
}

func init() {
	// The cluster is to end with us, however we end, and the signal for that hangs
	// on the thread that started it: main's own.
	runtime.LockOSThread()
}

// find gives the folder of PostgreSQL's programs, which Debian keeps off the path.
// Where it is missing and can be installed, it is.
func find() (string, error) {
	for attempt := range 2 {
		list, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
		if err != nil {
			return "", err
		}
		if path, err := exec.LookPath("initdb"); err == nil {
			if path, err = filepath.EvalSymlinks(path); err == nil {
				list = append(list, path)
			}
		}
		if len(list) > 0 {
			return filepath.Dir(slices.Max(list)), nil
		}
		if attempt > 0 || os.Geteuid() != 0 {
			break
		}
		fmt.Fprintln(os.Stderr, "peers: installing postgresql")
		install := exec.Command("apt-get", "install", "-y", "--no-install-recommends", "postgresql")
		install.Stdout, install.Stderr = os.Stderr, os.Stderr
		if err := install.Run(); err != nil {
			return "", fmt.Errorf("PostgreSQL is %w, and apt-get install postgresql fails: %w", errMissing, err)
		}
	}
	return "", fmt.Errorf("PostgreSQL is %w: apt-get install postgresql", errMissing)
}

// start makes the cluster and runs it. PostgreSQL refuses to run as root, so for
// root it runs as postgres, or as nobody.
func (p *postgres) start() error {
	if p.server != nil {
		return nil
	}
	bin, err := find()
	if err != nil {
		return err
	}
	if p.folder, err = os.MkdirTemp("", "postgres-"); err != nil {
		return err
	}
	as := &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT}
	if os.Geteuid() == 0 {
		who, err := user.Lookup("postgres")
		if err != nil {
			who, err = user.Lookup("nobody")
		}
		if err != nil {
			return err
		}
		uid, _ := strconv.Atoi(who.Uid) // numbers on every Unix
		gid, _ := strconv.Atoi(who.Gid)
		as.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(p.folder, uid, gid); err != nil {
			return err
		}
	}
	data := filepath.Join(p.folder, "data")
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-U", "peer", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	initdb.Dir, initdb.SysProcAttr = p.folder, as
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	args := []string{"-D", data, "-k", p.folder}
	for name, value := range settings {
		args = append(args, "-c", name+"="+value)
	}
	p.server = exec.Command(filepath.Join(bin, "postgres"), args...)
	p.server.Dir, p.server.SysProcAttr = p.folder, as
	log, err := os.Create(filepath.Join(p.folder, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	p.server.Stdout, p.server.Stderr = log, log
	if err := p.server.Start(); err != nil {
		return err
	}
	p.ended = make(chan error, 1)
	go func() { p.ended <- p.server.Wait() }()
	for {
		conn, err := p.connect()
		if err == nil {
			defer conn.Close(context.Background())
			_, err = conn.Exec(context.Background(), schema)
			return err
		}
		select {
		case err := <-p.ended:
			text, _ := os.ReadFile(log.Name())
			p.server = nil
			return fmt.Errorf("PostgreSQL does not start: %w\n%s", err, text)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (p *postgres) connect() (*pgx.Conn, error) {
	return pgx.Connect(context.Background(), "user=peer database=postgres host="+p.folder)
}

// close ends the cluster and removes it.
func (p *postgres) close() error {
	if p.server == nil {
		return nil
	}
	err := p.server.Process.Signal(syscall.SIGINT)
	<-p.ended
	if gone := os.RemoveAll(p.folder); !errors.Is(gone, fs.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	return err
}
