// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/api/edge"
	"github.com/seinhuis/seinhuis/audit"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/keys"
	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/matcher"
	"github.com/seinhuis/seinhuis/registry"
	"github.com/seinhuis/seinhuis/soak"
)

// A client is a party that talks to the registry over TLS, and remembers what was
// acknowledged.
type client struct {
	o      *operator
	p      int
	r      *rand.Rand
	http   *http.Client
	url    string
	cursor string
	met    map[api.SID]api.Event // the last that was heard of by each signal of its own
	live   map[int]*said         // by child: its last revision
	ended  []*said
	unsure *said // was sent, and not answered
}

// said is something that was sent, and what came back.
type said struct {
	path  string
	body  []byte
	child int
	st    api.Statement // that it is, or is about
	act   string        // empty with a statement
	got   api.Accepted
}

// errGone is what a client gets when the registry is no longer there.
var errGone = errors.New("no answer")

// send sends what was said; the code is empty when it was taken.
func (c *client) send(s *said) (status int, code api.Code, err error) {
	resp, err := c.http.Post(c.url+s.path, "application/json", bytes.NewReader(s.body))
	if err != nil {
		return 0, "", errGone
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, "", errGone
	}
	if resp.StatusCode >= 300 {
		var p api.Problem
		if err := json.Unmarshal(text, &p); err != nil {
			return 0, "", err
		}
		return resp.StatusCode, api.Code(p.Type[len(api.ProblemType("")):]), nil
	}
	return resp.StatusCode, "", json.Unmarshal(text, &s.got)
}

// listen reads what is new in the feed.
func (c *client) listen() error {
	resp, err := c.http.Get(c.url + "/v1/events?cursor=" + c.cursor)
	if err != nil {
		return errGone
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return errGone
	}
	var events api.Events
	if err := json.Unmarshal(text, &events); err != nil {
		return err
	}
	c.cursor = events.Next
	for _, e := range events.Items {
		if e.Kind == api.EventJoined {
			c.met[e.Own.SID] = e
		}
	}
	return nil
}

// think writes something to say.
func (c *client) think() *said {
	child := c.r.IntN(3)
	now := time.Now().UTC().Truncate(time.Second)
	s := &said{child: child}
	var text any
	last := c.live[child]
	n := c.r.IntN(10)
	switch {
	case last == nil || n < 3:
		s.path = "/v1/signals"
		s.st = api.Statement{
			Dep: c.o.w.Manifest.Dep, Party: party(c.p), KeyID: encoding.KeyIDOf(c.o.keys[c.p].Public().(ed25519.PublicKey)), SID: api.NewSID(), Rev: 1,
			Kind: api.KindChild, Expires: registry.Today(now).AddDate(1, 0, 0), Issued: now,
		}
		if last != nil {
			s.st.SID, s.st.Rev = last.st.SID, last.st.Rev+1
		}
		face := api.SealedFace{Card: fmt.Appendf(nil, "card %d", c.r.Uint64()), Keybox: []byte("keybox")}
		s.st.Faces = []api.Face{{
			Epoch: 1, Tag: sha256.Sum256(fmt.Appendf(nil, "child %d", child)), Card: sha256.Sum256(face.Card), Keybox: sha256.Sum256(face.Keybox),
		}}
		b, err := s.st.Encode()
		if err != nil {
			c.o.t.Error(err)
		}
		text = api.Submission{Signed: api.Sign(c.o.keys[c.p], b), Faces: []api.SealedFace{face}}
	default:
		s.path, s.st = "/v1/acts", last.st
		act := api.Act{Dep: s.st.Dep, Party: s.st.Party, KeyID: s.st.KeyID, SID: s.st.SID, Rev: s.st.Rev, Tag: s.st.Faces[0].Tag, Issued: now}
		if e, met := c.met[s.st.SID]; met && n < 8 {
			act.Act, act.Match, act.OtherSID, act.Body = api.ActAnswer, e.Match, e.Other.SID, string(api.AnswerWillCall)
			act.Issued = now.Add(-time.Duration(c.r.IntN(1e5)) * time.Second) // other bytes each time
		} else {
			act.Act, act.Body = api.ActWithdraw, api.ReasonEnded
		}
		s.act = string(act.Act)
		b, err := act.Encode()
		if err != nil {
			c.o.t.Error(err)
		}
		text = api.ActRequest{Signed: api.Sign(c.o.keys[c.p], b)}
	}
	var err error
	if s.body, err = json.Marshal(text); err != nil {
		c.o.t.Error(err)
	}
	return s
}

// took keeps what was acknowledged.
func (c *client) took(s *said) {
	switch s.act {
	case "":
		c.live[s.child] = s
	case string(api.ActWithdraw):
		delete(c.live, s.child)
		c.ended = append(c.ended, s)
	default:
		c.ended = append(c.ended, s) // and comes again as long as the match stands
	}
}

// talk talks until there is no answer, and tells of each that was acknowledged.
func (c *client) talk(acknowledged func()) error {
	for {
		if err := c.listen(); err != nil {
			return err
		}
		c.unsure = c.think()
		_, code, err := c.send(c.unsure)
		switch {
		case err != nil:
			return err
		case code == "":
			c.took(c.unsure)
			acknowledged()
		case code != api.CodeMatch || c.unsure.act != string(api.ActAnswer): // the other has left meanwhile
			return fmt.Errorf("refused: %s", code)
		}
		c.unsure = nil
	}
}

// holds asks again for what was acknowledged. What was not is said again first.
func (c *client) holds(t *testing.T, found soak.Found) {
	t.Helper()
	if c.unsure != nil {
		switch _, code, err := c.send(c.unsure); {
		case err != nil:
			t.Fatal(err)
		case code == "":
			c.took(c.unsure)
		case code != api.CodeMatch || c.unsure.act != string(api.ActAnswer):
			t.Fatalf("what was not acknowledged cannot be said again: %s", code)
		}
		c.unsure = nil
	}
	all := append([]*said{}, c.ended...)
	for _, s := range c.live {
		all = append(all, s)
	}
	for _, s := range all {
		before := s.got
		status, code, err := c.send(s)
		switch {
		case err != nil:
			t.Fatal(err)
		case s.act == string(api.ActAnswer) && code != "": // its match has ended since
		case status != http.StatusOK || code != "" || !reflect.DeepEqual(before, s.got):
			t.Errorf("%s %s was acknowledged, and is not there: %d %s", s.path, s.act, status, code)
		default:
			found["acknowledged"]++
		}
	}
}

// connected gives every party of an operator a key for TLS, and a client with it.
func connected(t *testing.T, o *operator) []*http.Client {
	t.Helper()
	pairs := make([]*http.Client, len(o.keys))
	for p := range pairs {
		cert, key := filepath.Join(o.folder, fmt.Sprint(p, ".crt")), filepath.Join(o.folder, fmt.Sprint(p, ".pem"))
		if err := keys.Clear.WriteTLS(cert, key, "party", nil); err != nil {
			t.Fatal(err)
		}
		pair, err := keys.Clear.ReadTLS(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		spki := keys.SPKIHash(pair.Leaf)
		of := &o.w.Directory.Parties[p]
		of.Keys = append(of.Keys, manifest.NewKey(manifest.UseTLS, spki[:], time.Now().Add(-time.Hour)))
		pairs[p] = &http.Client{Transport: &http.Transport{TLSClientConfig: edge.ClientTLS(pair, o.w.Manifest.Registry.TLS)}}
	}
	o.w.Manifest.Policy.DailySignals, o.w.Manifest.Policy.DailyActs = 1e6, 1e6
	o.write("manifest.txt", o.w.SignedManifest(t))
	o.write("directory.txt", o.w.SignedDirectory(t))
	return pairs
}

// TestRow1Kill kills the registry at a random moment, while real clients talk to it.
func TestRow1Kill(t *testing.T) {
	const parties = 4
	o := newOperator(t, parties)
	pairs := connected(t, o)
	short := 20
	if soak.Race {
		short = 6
	}
	soak.Row(t, 1, "kill -9 of the registry", short, func(t *testing.T, seed uint64) soak.Found {
		for _, folder := range []string{"data", "journal"} {
			if err := os.RemoveAll(filepath.Join(o.folder, folder)); err != nil {
				t.Fatal(err)
			}
		}
		o.t = t
		r := rand.New(rand.NewPCG(seed, 1))
		clients := make([]*client, parties)
		for p := range clients {
			clients[p] = &client{
				o: o, p: p, r: rand.New(rand.NewPCG(seed, uint64(p))), http: pairs[p], met: map[api.SID]api.Event{}, live: map[int]*said{},
			}
		}
		found := soak.Found{}
		for range 1 + r.IntN(2) { // and again what has come up
			s := o.serve()
			kill := func() {
				_ = s.cmd.Process.Kill()
			}
			left := atomic.Int64{}
			left.Store(1 + r.Int64N(150))
			pause := time.Duration(r.IntN(3000)) * time.Microsecond
			var g sync.WaitGroup
			for _, c := range clients {
				c.url = "https://" + s.exchange
				g.Go(func() {
					err := c.talk(func() {
						if left.Add(-1) == 0 {
							time.AfterFunc(pause, kill) // somewhere in what comes next
						}
					})
					if !errors.Is(err, errGone) {
						t.Error(err)
						kill()
					}
				})
			}
			g.Wait()
			_ = s.cmd.Wait()
			found["kills"]++
			o.inside(func(m *matcher.Matcher) { unhurt(t, m, clients) })
			if t.Failed() {
				return found
			}
			s = o.serve()
			for _, c := range clients {
				c.url = "https://" + s.exchange
				c.holds(t, found)
			}
			s.stop()
		}
		return found
	})
}

// unhurt holds a store whose process was killed against itself, and its log against the
// receipts.
func unhurt(t *testing.T, m *matcher.Matcher, clients []*client) {
	t.Helper()
	done, err := m.Check(t.Context(), func(d matcher.Difference) { t.Errorf("by half: %s", d.What) })
	if err != nil || done.Differences > 0 {
		t.Errorf("%+v, %v", done, err)
	}
	leaves := map[api.Hash]bool{}
	if err := m.Store.Leaves(context.Background(), api.Hash{}, func(l audit.Leaf) error { leaves[l.Hash()] = true; return nil }); err != nil {
		t.Fatal(err)
	}
	for _, c := range clients {
		all := append([]*said{}, c.ended...)
		for _, s := range c.live {
			all = append(all, s)
		}
		for _, s := range all {
			receipt, err := api.ParseReceipt(s.got.Receipt.Signed)
			if err != nil || !leaves[receipt.Leaf] {
				t.Errorf("the log lacks the leaf of a receipt (%v)", err)
			}
		}
	}
}
