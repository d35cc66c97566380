// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/soak"
)

// smallDisk is a disk of a size, which only root can make; without, what instead says which
// package tries one in memory.
func smallDisk(t *testing.T, size, instead string) string {
	t.Helper()
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("only root can make a small disk, and %s tries one in memory: %v", instead, err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	})
	return disk
}

// TestRow4FullDisk fills the disk of a registry that serves, and makes room again: to
// below the mark, or at once to the last byte. A real disk it is, in memory.
func TestRow4FullDisk(t *testing.T) {
	disk := smallDisk(t, "256m", "matcher")
	o := newOperator(t, 2)
	pairs := connected(t, o)
	text, err := os.ReadFile(filepath.Join(o.folder, "registry.json"))
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(disk, "data")
	o.write("registry.json", []byte(strings.Replace(string(text), `"data":"data",`, `"data":"`+data+`","disk":{"lowMiB":64,"ballastMiB":16},`, 1)))
	s := o.serve()
	c := &client{o: o, http: pairs[0], url: "https://" + s.exchange, live: map[int]*said{}, met: map[api.SID]api.Event{}}
	filler := filepath.Join(disk, "filler")
	short := 3
	if soak.Race {
		short = 2
	}
	soak.Row(t, 4, "a disk that fills up, and has room again", short, func(t *testing.T, seed uint64) soak.Found {
		o.t, s.t = t, t
		c.r = rand.New(rand.NewPCG(seed, 4))
		say := func(s *said, want int) {
			t.Helper()
			status, code, err := c.send(s)
			if err != nil || status != want {
				t.Fatalf("%s %s: %d %s %v, want %d", s.path, s.act, status, code, err, want)
			}
			if want < 300 {
				c.took(s)
			}
		}
		signal := func(want int) {
			t.Helper()
			clear(c.live)
			say(c.think(), want)
		}
		withdrawn := func() *said {
			for {
				if s := c.think(); s.act == string(api.ActWithdraw) {
					return s
				}
			}
		}
		ballast := func() bool {
			info, err := os.Stat(filepath.Join(data, "ballast"))
			return err == nil && info.Size() == 16<<20
		}

		signal(http.StatusCreated)
		room := int64(0) // what is left
		if seed%2 == 0 {
			room = 1<<20 + c.r.Int64N(60<<20)
		}
		fill(t, disk, filler, room)
		if room == 0 { // before anybody has looked
			say(withdrawn(), http.StatusOK)
			s.await("read-only")
		} else {
			s.await("read-only")
			say(withdrawn(), http.StatusOK)
		}
		if room > 0 && !ballast() {
			t.Errorf("with %d bytes left the ballast is gone", room)
		}
		clear(c.live)
		if status, _, err := c.send(c.think()); err != nil || status != http.StatusServiceUnavailable {
			t.Errorf("a signal gets %d on a full disk (%v)", status, err)
		}
		if status, body := s.health(); status != http.StatusServiceUnavailable || !strings.Contains(body, `{"name":"disk","code":"low"}`) {
			t.Errorf("health is %d %s", status, body)
		}
		if err := c.listen(); err != nil {
			t.Errorf("the feed is not read: %v", err)
		}
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
		s.await("no longer read-only")
		if !ballast() {
			t.Error("the ballast is not there again")
		}
		signal(http.StatusCreated)
		if status, body := s.health(); status != http.StatusOK {
			t.Errorf("afterwards health is %d %s", status, body)
		}
		say(withdrawn(), http.StatusOK)
		return soak.Found{"filled": 1}
	})
	s.t, o.t = t, t
	s.stop()
}

// TestRow4JournalsDisk fills the disk of the journal alone: withdrawals are still taken,
// nothing else is, and with room it goes on.
func TestRow4JournalsDisk(t *testing.T) {
	disk := smallDisk(t, "128m", "registry/journal")
	o := newOperator(t, 2)
	pairs := connected(t, o)
	text, err := os.ReadFile(filepath.Join(o.folder, "registry.json"))
	if err != nil {
		t.Fatal(err)
	}
	kept := filepath.Join(disk, "journal")
	o.write("registry.json", []byte(strings.Replace(string(text), `"journal":"journal",`, `"journal":"`+kept+`",`, 1)))
	s := o.serve()
	c := &client{o: o, http: pairs[0], url: "https://" + s.exchange, live: map[int]*said{}, met: map[api.SID]api.Event{}}
	filler := filepath.Join(disk, "filler")
	page := int64(os.Getpagesize())
	soak.Row(t, 4, "a full disk of the journal", soak.Short(2), func(t *testing.T, seed uint64) soak.Found {
		o.t, s.t = t, t
		c.r = rand.New(rand.NewPCG(seed, 5))
		take := func(s *said) {
			t.Helper()
			if status, code, err := c.send(s); err != nil || status >= 300 {
				t.Fatalf("%s %s: %d %s %v", s.path, s.act, status, code, err)
			}
			c.took(s)
		}
		withdrawn := func() *said {
			for {
				if s := c.think(); s.act == string(api.ActWithdraw) {
					return s
				}
			}
		}
		for room := page; room > page/20; { // what the journal has of its last page, less than a withdrawal takes
			clear(c.live)
			take(c.think())
			take(withdrawn())
			list, err := filepath.Glob(filepath.Join(kept, "*.journal"))
			if err != nil || len(list) == 0 {
				t.Fatal(list, err)
			}
			info, err := os.Stat(list[len(list)-1])
			if err != nil {
				t.Fatal(err)
			}
			room = (page - info.Size()%page) % page
		}
		clear(c.live)
		take(c.think())
		fill(t, disk, filler, 0)
		take(withdrawn())
		s.await("read-only")
		clear(c.live)
		if status, _, err := c.send(c.think()); err != nil || status != http.StatusServiceUnavailable {
			t.Errorf("a signal gets %d when the journal's disk is full (%v)", status, err)
		}
		if status, body := s.health(); status != http.StatusServiceUnavailable || !strings.Contains(body, `{"name":"journal","code":"low"}`) {
			t.Errorf("health is %d %s", status, body)
		}
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
		s.await("no longer read-only")
		if info, err := os.Stat(filepath.Join(kept, "ballast")); err != nil || info.Size() != 16<<20 {
			t.Errorf("the ballast is not there again: %v", err)
		}
		clear(c.live)
		take(c.think())
		take(withdrawn())
		return soak.Found{"filled": 1}
	})
	s.t, o.t = t, t
	s.stop()
}

// fill writes a file until so many bytes are left on a disk.
func fill(t *testing.T, disk, path string, room int64) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 64<<10)
	for {
		var stat syscall.Statfs_t
		if err := syscall.Statfs(disk, &stat); err != nil {
			t.Fatal(err)
		}
		if int64(stat.Bavail)*stat.Bsize <= room {
			return
		}
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
