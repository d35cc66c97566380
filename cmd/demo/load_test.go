// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/soak"
)

// The design load is five signals a second for the whole country: 3,000,000 a year, and
// all of them in the 170 busiest hours. Each of ours comes with a withdrawal, so that
// what lives stays about as much as it is.
const (
	load       = 2 * 5 // signals a second
	rosterSize = 400   // children; each is known to several parties
)

// How much more memory and descriptors the last minutes may need than the ones after the
// start. What fills up and then stays (memtables and caches of a database) has a bound of
// its own, of which this leaves room for half.
const (
	moreMemory      = 160 << 20 // bytes resident, of any one process
	moreDescriptors = 32
)

// TestRow14Load has the built programs serve twice the design load. Each try is a
// minute: make soak ROW=14 COUNT=60 takes an hour. There is no short form.
func TestRow14Load(t *testing.T) {
	if !soak.Long() {
		t.Skip("it takes minutes: make soak ROW=14 COUNT=60")
	}
	demo := startDemo(t)
	var samples []map[string]use
	soak.Row(t, 14, "minutes at twice the design load", 0, func(t *testing.T, seed uint64) soak.Found {
		found := demo.minute(t, rand.New(rand.NewPCG(seed, 14)))
		now := map[string]use{}
		for name, pid := range demo.Processes {
			now[name] = useOf(t, pid)
			found["most MB of one process"] = max(found["most MB of one process"], now[name].memory>>20)
		}
		samples = append(samples, now)
		// The first minutes fill what has a bound.
		if warm := len(samples) / 4; warm > 0 {
			for name, is := range now {
				was := samples[warm][name]
				if is.memory > was.memory+moreMemory {
					t.Errorf("%s: %d MB, and %d MB after %d minutes", name, is.memory>>20, was.memory>>20, warm+1)
				}
				if is.descriptors > was.descriptors+moreDescriptors {
					t.Errorf("%s: %d descriptors, and %d after %d minutes", name, is.descriptors, was.descriptors, warm+1)
				}
			}
		}
		found["most MB of one process"] -= most(samples[:len(samples)-1]) // so that the sum is the most of all
		found["most MB of one process"] = max(0, found["most MB of one process"])
		return found
	})
	for name := range demo.Processes {
		first, last := samples[len(samples)/4][name], samples[len(samples)-1][name]
		t.Logf("%s: %d MB and %d descriptors after %d minutes, %d and %d at the end",
			name, first.memory>>20, first.descriptors, len(samples)/4+1, last.memory>>20, last.descriptors)
	}
}

func most(samples []map[string]use) (mb int) {
	for _, s := range samples {
		for _, u := range s {
			mb = max(mb, u.memory>>20)
		}
	}
	return mb
}

// A use is what a process has of the machine.
type use struct{ memory, descriptors int }

func useOf(t *testing.T, pid int) use {
	t.Helper()
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	statm, err := os.ReadFile(filepath.Join(proc, "statm"))
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(string(bytes.Fields(statm)[1])) // resident; proc(5)
	if err != nil {
		t.Fatal(err)
	}
	open, err := os.ReadDir(filepath.Join(proc, "fd"))
	if errors.Is(err, fs.ErrPermission) { // the process dumps no core, so root alone sees them
		t.Log("LEFT OUT: descriptors of a process, which this system shows to root at most")
	} else if err != nil {
		t.Fatal(err)
	}
	return use{pages * os.Getpagesize(), len(open)}
}

// minute sends a minute's load to all gateways.
func (r *running) minute(t *testing.T, rng *rand.Rand) soak.Found {
	var wg sync.WaitGroup
	var mu sync.Mutex
	found := soak.Found{}
	c := &http.Client{Timeout: 30 * time.Second}
	defer c.CloseIdleConnections()
	names := make([]string, 0, len(r.Parties))
	for name := range r.Parties {
		names = append(names, name)
	}
	slices.Sort(names)
	tick := time.NewTicker(time.Second / load)
	defer tick.Stop()
	for range 60 * load {
		<-tick.C
		p, child := r.Parties[names[rng.IntN(len(names))]], rng.IntN(rosterSize)
		wg.Go(func() {
			var taken struct{ ID string }
			err := post(c, p.URL+"/v1/signalen?wacht=20", p.Token, map[string]any{
				"nummersoort": "bsn", "nummer": loadNumber(child), "geboortedatum": "2014-03-02", "kenmerk": "L-1", "hulpverlener": "duur",
			}, &taken)
			if err == nil {
				err = post(c, p.URL+"/v1/signalen/"+taken.ID+"/intrekking?wacht=20", p.Token, map[string]any{"reden": "afgesloten"}, nil)
			}
			mu.Lock()
			defer mu.Unlock()
			if found["signals"]++; err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	return found
}

// post has an answer of 2xx, or an error.
func post(c *http.Client, url, token string, body, out any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(b))
	if err != nil {
		return err
	}
	key, err := gateway.ReadToken(token, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 300 {
		return fmt.Errorf("%s: %s (%v)", resp.Status, answer, err)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(answer, out)
}

// loadNumber is the n-th number from 950,000,000 that passes the 11-test.
func loadNumber(n int) string {
	for i := 950_000_000; ; i++ {
		s := strconv.Itoa(i)
		sum := -int(s[8] - '0')
		for j := range 8 {
			sum += int(s[j]-'0') * (9 - j)
		}
		if sum%11 == 0 {
			if n == 0 {
				return s
			}
			n--
		}
	}
}
