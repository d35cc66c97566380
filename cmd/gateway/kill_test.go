// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/seinhuis/seinhuis/disk/disktest"
	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
	"github.com/seinhuis/seinhuis/registry"
	"github.com/seinhuis/seinhuis/soak"
)

// withFault tells a gateway of a test which operation of its disk fails: "sync:7" is the
// seventh sync, "any:40" the fortieth operation that changes or reads anything.
const withFault = "SEINHUIS_TEST_DISK_FAULT"

// faulty is the machine's disk, of which one operation fails.
func faulty(fault string) vfs.FS {
	kind, text, _ := strings.Cut(fault, ":")
	at, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		panic(err)
	}
	var n atomic.Int64
	return disktest.Faulty(vfs.Default, func(op errorfs.Op) error {
		sync := op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo
		if kind == "sync" && !sync || n.Add(1) != at {
			return nil
		}
		return errorfs.ErrInjected
	})
}

// A kept is what clients of a gateway were told, that dies again and again.
type kept struct {
	*counter
	t        *testing.T
	receiver *gatewaytest.Receiver
	other    *gateway.Party
	token    string
	base     atomic.Pointer[string]
	stop     atomic.Bool
	acks     atomic.Int64

	mu        sync.Mutex
	signals   map[string]string // id: kenmerk
	withdrawn map[string]bool
	reports   map[string]string // id: beslissenVoor
	answered  map[string]bool   // matches
}

func newKept(t *testing.T) *kept {
	t.Helper()
	k := &kept{
		t: t, receiver: gatewaytest.NewReceiver(t), signals: map[string]string{}, withdrawn: map[string]bool{}, reports: map[string]string{}, answered: map[string]bool{},
	}
	k.counter = configureWorldWith(t, func(c *gateway.Config) {
		c.Webhooks = gateway.WebhooksConfig{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, Roots: k.receiver.RootFile}
	}, 0)
	k.other = k.Run(1).Of(1)
	var err error
	if k.token, err = gateway.ReadToken(filepath.Join(k.KeysOf(0), gateway.FileToken), nil); err != nil {
		t.Fatal(err)
	}
	return k
}

// run starts the gateway on a disk with a fault, or without; ready is false when the fault
// came before it listened.
func (k *kept) run(fault string) (process *exec.Cmd, ended chan error, ready bool) {
	k.t.Helper()
	k.log = &output{listening: make(chan map[string]string, 1)}
	process = exec.Command(os.Args[0], "serve", "-config", k.config)
	process.Env = append(os.Environ(), asGateway+"=1", withFault+"="+fault)
	process.Stderr = lines{k.log}
	if err := process.Start(); err != nil {
		k.t.Fatal(err)
	}
	ended = make(chan error, 1)
	go func() { ended <- process.Wait() }()
	k.t.Cleanup(func() { process.Process.Kill() })
	select {
	case line := <-k.log.listening:
		url := "http://" + line["api"]
		k.url = url
		k.base.Store(&url)
		return process, ended, true
	case err := <-ended:
		if fault == "" {
			k.t.Fatalf("it does not start: %v\n%s", err, k.log)
		}
		return process, ended, false
	}
}

// ask asks until there is an answer, whoever dies meanwhile; nil when the load has ended.
// Asked again, it is the same request.
func (k *kept) ask(method, path, key string, body any) map[string]any {
	text, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	for !k.stop.Load() {
		answer, status, err := k.once(method, path, key, text)
		switch {
		case err == nil && status < 300:
			k.acks.Add(1)
			return answer
		case err == nil && status < 500 && status != http.StatusTooManyRequests:
			k.t.Errorf("%s %s: %d %v", method, path, status, answer)
			return nil
		}
		time.Sleep(5 * time.Millisecond)
	}
	return nil
}

func (k *kept) once(method, path, key string, body []byte) (answer map[string]any, status int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, *k.base.Load()+"/v1"+path, bytes.NewReader(body))
	if err != nil {
		return nil, 0, err
	}
	r.Header.Set("Authorization", "Bearer "+k.token)
	if method != http.MethodGet {
		r.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	return answer, resp.StatusCode, json.NewDecoder(resp.Body).Decode(&answer)
}

// work has one client do what a party does, with children of its own.
func (k *kept) work(client int, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, uint64(client)))
	all := numbers(300 * (client + 1))[300*client:]
	for i := 0; i+1 < len(all) && !k.stop.Load(); i += 2 {
		name := fmt.Sprintf("kenmerk-%d-%03d", client, i)
		child := map[string]any{"nummersoort": "bsn", "nummer": all[i], "geboortedatum": birth, "kenmerk": name, "hulpverlener": "jansen"}
		made := k.ask(http.MethodPost, "/signalen", name, child)
		if made == nil {
			return
		}
		id := made["id"].(string)
		k.note(func() { k.signals[id] = name })
		switch rng.IntN(4) {
		case 0:
			if k.ask(http.MethodPost, "/signalen/"+id+"/intrekking", "", map[string]string{"reden": "afgesloten"}) != nil {
				k.note(func() { k.withdrawn[id] = true })
			}
		case 1:
			r := k.ask(http.MethodPost, "/meldingen", "M"+name, map[string]any{"kenmerk": "M" + name, "hulpverlener": "jansen", "personen": []map[string]string{
				{"rol": "kind", "nummersoort": "bsn", "nummer": all[i+1], "geboortedatum": birth}, {"rol": "ouder", "kenmerk": "zonder nummer"},
			}})
			if r != nil {
				k.note(func() { k.reports[r["id"].(string)] = r["beslissenVoor"].(string) })
			}
		default:
			if _, err := k.other.Signal(gateway.Subject{Kind: "bsn", Number: all[i], BirthDate: birth}, gateway.Terms{Owner: "bakker", Reference: name}); err != nil {
				k.t.Error(err)
				return
			}
			for !k.stop.Load() {
				s := k.ask(http.MethodGet, "/signalen/"+id, "", nil)
				if s == nil {
					return
				}
				if match, _ := s["match"].(string); match != "" {
					if k.ask(http.MethodPost, "/matches/"+match+"/antwoorden", "", map[string]string{"antwoord": "gaBellen"}) != nil {
						k.note(func() { k.answered[match] = true })
					}
					break
				}
			}
		}
	}
}

func (k *kept) note(do func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	do()
}

// list reads all of a collection.
func (k *kept) list(path string) (items []map[string]any, err error) {
	for next := ""; ; {
		answer, status, err := k.once(http.MethodGet, path+"?aantal=100&na="+next, "", nil)
		if err != nil || status != http.StatusOK {
			return nil, fmt.Errorf("%s: %d %w", path, status, err)
		}
		page, _ := answer["items"].([]any)
		for _, item := range page {
			items = append(items, item.(map[string]any))
		}
		last, _ := answer["next"].(string)
		if last == "" || last == next || len(page) == 0 {
			return items, nil
		}
		next = last
	}
}

// done holds what is there against all that clients were told.
func (k *kept) done() error {
	regs, err := k.list("/signalen")
	if err != nil {
		return err
	}
	names, ours := map[string]string{}, map[string]bool{}
	for _, s := range regs {
		id, name, state := s["id"].(string), s["kenmerk"].(string), s["toestand"].(string)
		if before := names[name]; before != "" {
			return fmt.Errorf("%s was signalled twice", name)
		}
		names[name] = id
		switch {
		case k.withdrawn[id] && state != "ingetrokken" || !k.withdrawn[id] && state != "geregistreerd" && state != "ingetrokken":
			return fmt.Errorf("%s is %s", name, state)
		case state == "geregistreerd":
			ours[s["sid"].(string)] = true
		}
	}
	theirs, common := map[string]bool{}, 0
	err = k.Matcher.Store.Scan(context.Background(), registry.Idx{}, func(_ registry.Idx, signals []registry.Signal, m registry.Match) error {
		for _, s := range signals {
			if s.Party == gatewaytest.Party(0) {
				theirs[s.SID.String()] = true
			}
		}
		if len(m.Members) == 2 {
			common++
		}
		return nil
	})
	if err != nil || fmt.Sprint(ours) != fmt.Sprint(theirs) {
		return fmt.Errorf("%d signals are here and %d at the registry (%v)", len(ours), len(theirs), err)
	}
	for id, name := range k.signals {
		if names[name] != id {
			return fmt.Errorf("%s was acknowledged, and is lost", name)
		}
	}
	for id, decide := range k.reports {
		r, status, err := k.once(http.MethodGet, "/meldingen/"+id, "", nil)
		if err != nil || status != http.StatusOK || r["beslissenVoor"] != decide || len(r["personen"].([]any)) != 2 || len(r["teDoen"].([]any)) != 1 {
			return fmt.Errorf("a report is not what it was: %d %v", status, err)
		}
	}
	matches, err := k.list("/matches")
	if err != nil {
		return err
	}
	active := 0
	for _, m := range matches {
		other := m["anderen"].([]any)[0].(map[string]any)
		if other["toestand"] == "aanwezig" {
			active++
		}
		own, _ := other["eigenAntwoord"].(map[string]any)
		if k.answered[m["id"].(string)] && own["antwoord"] != "gaBellen" {
			return errors.New("an answer has not been given")
		}
	}
	if active != common {
		return fmt.Errorf("%d matches are here and %d at the registry", active, common)
	}
	log, err := k.list("/inzagen")
	if err != nil {
		return err
	}
	logged := map[string]bool{}
	for _, row := range log {
		object, _ := row["object"].(string)
		logged[row["gebeurtenis"].(string)+" "+object] = true
	}
	for id := range k.signals {
		if !logged["signaalAangemeld "+id] || k.withdrawn[id] && !logged["signaalIngetrokken "+id] {
			return errors.New("the log of access misses an act on a signal")
		}
	}
	for id := range k.answered {
		if !logged["matchBeantwoord "+id] {
			return errors.New("the log of access misses an answer")
		}
	}
	inbox, err := k.list("/berichten")
	if err != nil {
		return err
	}
	var want, got []string
	for _, m := range inbox {
		want = append(want, m["id"].(string))
	}
	for _, d := range k.receiver.Taken(0) {
		if !slices.Contains(got, d.ID) {
			got = append(got, d.ID)
		}
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("%d events were delivered, or in another order than the %d in the inbox", len(got), len(want))
	}
	return nil
}

// died has a gateway die so many times under load, each time on a disk with another
// fault and as strike says, and holds what is there in the end against what clients
// were told.
func died(t *testing.T, seed uint64, times int, fault func() string, strike func(k *kept, process *exec.Cmd, ended <-chan error, fault string)) soak.Found {
	t.Helper()
	k := newKept(t)
	process, ended, _ := k.run("")
	made := k.ask(http.MethodPost, "/abonnementen", "", map[string]any{"url": k.receiver.URL + "/seinhuis"})
	k.receiver.Trust(made["geheim"].(string))
	process.Process.Kill()
	<-ended
	var load sync.WaitGroup
	for client := range 3 {
		load.Go(func() { k.work(client, seed) })
	}
	for range times {
		bad := fault()
		if process, ended, ready := k.run(bad); ready {
			strike(k, process, ended, bad)
		}
	}
	_, _, _ = k.run("")
	k.more(1)
	k.stop.Store(true)
	load.Wait()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		err := k.done()
		if err == nil {
			break
		}
		if t.Failed() || time.Now().After(deadline) {
			t.Fatalf("%v\n%s", err, k.log)
		}
	}
	return soak.Found{"deaths": times, "acknowledged": int(k.acks.Load()), "signals": len(k.signals), "withdrawals": len(k.withdrawn), "reports": len(k.reports), "answers": len(k.answered)}
}

// more waits until so many more requests have been acknowledged; it gives up when the
// gateway has died, or in a minute.
func (k *kept) more(n int64) {
	for until, deadline := k.acks.Load()+n, time.Now().Add(time.Minute); k.acks.Load() < until && time.Now().Before(deadline) && !k.t.Failed(); {
		time.Sleep(time.Millisecond)
	}
}

// TestRow1Gateway kills a gateway at random under load, on a real disk, with clients that
// remember what was acknowledged.
func TestRow1Gateway(t *testing.T) {
	deaths := 3
	if soak.Long() {
		deaths = 10
	}
	soak.Row(t, 1, "kill -9 of a gateway at random under load", soak.Short(2), func(t *testing.T, seed uint64) soak.Found {
		rng := rand.New(rand.NewPCG(seed, 1))
		return died(t, seed, deaths, func() string { return "" }, func(k *kept, process *exec.Cmd, ended <-chan error, _ string) {
			k.more(1 + rng.Int64N(12))
			time.Sleep(time.Duration(rng.IntN(20_000)) * time.Microsecond)
			process.Process.Kill()
			<-ended
		})
	})
}

// TestRow3Gateway has one operation of a gateway's disk fail under load. A sync that fails
// ends it, by itself; after anything else it goes on, or ends. What was acknowledged is
// there when the disk is good again.
func TestRow3Gateway(t *testing.T) {
	deaths := 2
	if soak.Long() {
		deaths = 8
	}
	soak.Row(t, 3, "an operation of a gateway's disk that fails under load", soak.Short(2), func(t *testing.T, seed uint64) soak.Found {
		rng := rand.New(rand.NewPCG(seed, 3))
		n := 0
		fault := func() string {
			if n++; n%2 == 1 {
				return fmt.Sprintf("sync:%d", 20+rng.IntN(40)) // opening takes less
			}
			return fmt.Sprintf("any:%d", 1+rng.IntN(400))
		}
		byItself := 0
		found := died(t, seed, deaths, fault, func(k *kept, process *exec.Cmd, ended <-chan error, fault string) {
			limit := 60 * time.Second
			if strings.HasPrefix(fault, "any") {
				limit = time.Second
			}
			select {
			case err := <-ended:
				byItself++
				// Where the log cannot be closed Pebble does not tell its logger, and panics.
				stops := process.ProcessState.ExitCode() == 1 && strings.Contains(k.log.String(), "the store stops")
				stops = stops || process.ProcessState.ExitCode() == 2 && strings.Contains(k.log.String(), "(*DB).rotateWAL")
				if !stops {
					t.Errorf("it ended otherwise: %v\n%s", err, k.log)
				}
			case <-time.After(limit):
				if strings.HasPrefix(fault, "sync") {
					t.Errorf("it goes on after a sync that failed (%s)", fault)
				}
				process.Process.Kill()
				<-ended
			}
		})
		found["by itself"] = byItself
		return found
	})
}
