// SPDX-License-Identifier: EUPL-1.2

package gateway_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
	"github.com/seinhuis/seinhuis/keys"
	"github.com/seinhuis/seinhuis/manifest"
)

func date(t *testing.T, s string) encoding.Date {
	t.Helper()
	d, err := encoding.ParseDate(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestExpiry(t *testing.T) {
	for _, c := range []struct {
		name, issued string
		term         int
		birthday23   string
		want         string
	}{
		{"first_of_the_month_before_the_term", "2027-03-04", 365, "2035-05-06", "2028-03-01"},
		{"term_ends_on_a_first", "2027-03-04", 28, "2035-05-06", "2027-04-01"},
		{"term_within_the_month", "2027-03-04", 20, "2035-05-06", "2027-03-24"},
		{"birthday_before_the_term", "2027-03-04", 365, "2027-09-20", "2027-09-01"},
		{"birthday_within_the_month", "2027-03-04", 365, "2027-03-20", "2027-03-20"},
		{"birthday_tomorrow", "2027-03-04", 365, "2027-03-05", "2027-03-05"},
		{"issued_on_a_first_birthday_in_the_month", "2027-03-01", 365, "2027-03-31", "2027-03-31"},
		{"over_the_year", "2027-12-31", 1, "2035-05-06", "2028-01-01"},
		{"leap_day", "2028-02-28", 1, "2035-05-06", "2028-02-29"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := gateway.Expiry(date(t, c.issued), c.term, date(t, c.birthday23)); got.String() != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
	for _, c := range [][3]int{{0, 365, 365}, {100, 365, 100}, {731, 365, 365}} {
		if got := gateway.Term(c[0], c[1]); got != c[2] {
			t.Errorf("asked %d, policy %d: got %d", c[0], c[1], got)
		}
	}
}

func TestBackoffDoublesWithinBounds(t *testing.T) {
	for failures := 1; failures < 100; failures++ {
		most := min(250*time.Millisecond<<min(failures-1, 20), 15*time.Second)
		if d := gateway.Backoff(failures); d < most/2 || d > most {
			t.Errorf("after %d failures: %v, want from %v to %v", failures, d, most/2, most)
		}
	}
}

func TestConfig(t *testing.T) {
	const good = `{"data":"data","storageKey":"storage.key","pins":"pins.json","manifest":"m.txt","directory":"d.txt",
"parties":[{"id":"nl-kvk:12345678","keys":"keys","card":{"desk":"Balie","phone":"1"}},{"id":"nl-kvk:12345679","keys":"/k","token":"t"}]}`
	path := filepath.Join(t.TempDir(), "gateway.json")
	load := func(text string) (gateway.Config, error) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return gateway.LoadConfig(path)
	}
	c, err := load(good)
	if err != nil {
		t.Fatal(err)
	}
	in := func(name string) string { return filepath.Join(filepath.Dir(path), name) }
	if c.Listen != gateway.DefaultListen || c.Metrics != gateway.DefaultMetrics || c.Public() ||
		c.Data != in("data") || c.Parties[0].Token != in("keys/token") || c.Parties[1].Keys != "/k" || c.Parties[1].Token != in("t") {
		t.Errorf("defaults and paths: %+v", c)
	}
	for _, secured := range []string{`"tls":{"cert":"c","key":"k"}`, `"proxies":["10.0.0.1"]`} {
		if c, err = load(strings.Replace(good, `{"data"`, `{"listen":"0.0.0.0:8420",`+secured+`,"data"`, 1)); err != nil || !c.Public() {
			t.Errorf("an address that others reach is not seen as such (%v)", err)
		}
	}
	for reason, text := range map[string]string{
		"unknown_key":       strings.Replace(good, `"data"`, `"datta":"x","data"`, 1),
		"key_twice":         strings.Replace(good, `"data"`, `"data":"x","data"`, 1),
		"no_storage_key":    strings.Replace(good, `"storageKey":"storage.key",`, "", 1),
		"key_in_the_data":   strings.Replace(good, `"storage.key"`, `"data/storage.key"`, 1),
		"no_party":          `{"data":"d","storageKey":"s","pins":"p","manifest":"m","directory":"d","parties":[]}`,
		"party_id":          strings.Replace(good, "nl-kvk:12345678", "nl-kvk:1", 1),
		"party_twice":       strings.Replace(good, "12345679", "12345678", 1),
		"party_keys":        strings.Replace(good, `"keys":"keys",`, "", 1),
		"card":              strings.Replace(good, `"desk":"Balie",`, "", 1),
		"metrics_to_all":    strings.Replace(good, `"data"`, `"metrics":"0.0.0.0:9420","data"`, 1),
		"open_in_the_clear": strings.Replace(good, `"data"`, `"listen":"0.0.0.0:8420","data"`, 1),
		"half_of_tls":       strings.Replace(good, `"data"`, `"tls":{"cert":"c"},"data"`, 1),
		"proxy_everywhere":  strings.Replace(good, `"data"`, `"proxies":["0.0.0.0/0"],"data"`, 1),
		"security":          strings.Replace(good, `"data"`, `"security":{"contact":["mailto:a@example.org"]},"data"`, 1),
		"no_connections":    strings.Replace(good, `"data"`, `"connections":{"most":0,"perAddress":4},"data"`, 1),
		"metrics_anywhere":  strings.Replace(good, `"data"`, `"metrics":":9420","data"`, 1),
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			if _, err := load(text); err == nil || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v, want an error that names the file", err)
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	w := gatewaytest.New(t, 2)
	fs := vfs.NewMem()
	if err := w.OpenOn(fs, 0).Close(); err != nil {
		t.Fatal(err)
	}
	open := func(c gateway.Config) error {
		g, err := gateway.Open(c, gateway.Options{Now: w.Now, FS: fs})
		if err == nil {
			err = g.Close()
		}
		return err
	}
	if err := open(w.Configure(0, 1)); err != nil {
		t.Fatal(err)
	}
	t.Run("storage_key_of_a_next_generation", func(t *testing.T) {
		c := w.Configure(0, 1)
		safe := (*keys.Safe)(nil)
		for range 2 {
			if err := safe.Change(c.StorageKey, keys.RootsForm.Renew); err != nil {
				t.Fatal(err)
			}
			if err := open(c); err != nil {
				t.Fatal(err)
			}
		}
		t.Run("rejects/oldest_taken_out", func(t *testing.T) {
			alone := filepath.Join(t.TempDir(), "storage.key")
			text, err := safe.ReadPrivate(c.StorageKey)
			if err == nil {
				text, err = keys.RootsForm.Newest(text)
			}
			if err == nil {
				err = safe.WritePrivate(alone, text)
			}
			if err != nil {
				t.Fatal(err)
			}
			c.StorageKey = alone
			if err := open(c); err == nil || !strings.Contains(err.Error(), "storage key") {
				t.Errorf("got %v", err)
			}
		})
	})
	t.Run("rejects/another_storage_key", func(t *testing.T) {
		c := w.Configure(0)
		c.StorageKey = filepath.Join(t.TempDir(), "other.key")
		if err := keys.Clear.WriteSecret(c.StorageKey, gateway.StorageKeySize); err != nil {
			t.Fatal(err)
		}
		if err := open(c); err == nil || !strings.Contains(err.Error(), "storage key") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("rejects/short_storage_key", func(t *testing.T) {
		c := w.Configure(0)
		c.StorageKey = filepath.Join(t.TempDir(), "short.key")
		if err := keys.Clear.WriteSecret(c.StorageKey, 16); err != nil {
			t.Fatal(err)
		}
		if err := open(c); err == nil {
			t.Error("it was taken")
		}
	})
	t.Run("rejects/token_of_two_parties", func(t *testing.T) {
		c := w.Configure(0, 1)
		c.Parties[1].Token = c.Parties[0].Token
		if err := open(c); err == nil || !strings.Contains(err.Error(), "same API token") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("rejects/manifest_of_strangers", func(t *testing.T) {
		c := w.Configure(0)
		stranger := gatewaytest.New(t, 1).Configure(0)
		c.Manifest = stranger.Manifest
		if err := open(c); err == nil {
			t.Error("it was taken")
		}
	})
}

func TestRootsOnlyGoForward(t *testing.T) {
	w := gatewaytest.New(t, 1)
	fs := vfs.NewMem()
	old := w.Configure(0)
	manifestFile, err := os.ReadFile(old.Manifest)
	if err != nil {
		t.Fatal(err)
	}
	w.Publish() // version 2
	h := w.OpenOn(fs, 0)
	if about, err := h.Of(0).About(t.Context()); err != nil || about.Manifest != 2 || about.Directory != 2 {
		t.Fatalf("manifest %d, directory %d (%v)", about.Manifest, about.Directory, err)
	}
	if err := os.WriteFile(h.Config.Manifest, manifestFile, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := h.Reload(); err != nil {
		t.Errorf("a file with a lower version is no error, but %v", err)
	}
	if about, _ := h.Of(0).About(t.Context()); about.Manifest != 2 {
		t.Errorf("the manifest went back to %d", about.Manifest)
	}
	w.Publish()
	w.Configure(0)
	if err := h.Reload(); err != nil {
		t.Error(err)
	}
	if about, _ := h.Of(0).About(t.Context()); about.Manifest != 3 || about.Directory != 3 {
		t.Errorf("after a reload: manifest %d, directory %d", about.Manifest, about.Directory)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestSweepKeepsNothingForEver(t *testing.T) {
	w := gatewaytest.New(t, 2)
	h := w.Run(0, 1)
	a := h.Of(0)
	short := signal(t, a, child(1), gateway.Terms{Owner: "jansen", Reference: "A-1", TermDays: 20})
	again := signal(t, a, child(1), terms("jansen", "A-1"))
	long := signal(t, a, child(2), terms("jansen", "A-2"))
	signal(t, h.Of(1), child(1), terms("bakker", "B-1"))
	inbox(t, a, 1)

	w.Advance(21 * 24 * time.Hour)
	if err := a.Sweep(); err != nil {
		t.Fatal(err)
	}
	for _, id := range []gateway.ID{short.ID, again.ID} {
		if s, err := a.Registration(id); err != nil || s.State != gateway.StateExpired || s.Signal != nil {
			t.Errorf("after its term: %s (%v)", s.State, err)
		}
	}
	if messages, err := a.Messages(0, 10); err != nil || len(messages) == 0 {
		t.Errorf("the message about it went too early (%v)", err)
	}
	w.Advance(31 * 24 * time.Hour)
	for range 2 { // repeats go after what they repeat
		if err := a.Sweep(); err != nil {
			t.Fatal(err)
		}
	}
	list, _, err := a.Registrations(gateway.ID{}, 10, "")
	if err != nil || len(list) != 1 || list[0].ID != long.ID {
		t.Errorf("a month later %d registrations are left (%v)", len(list), err)
	}
	if messages, err := a.Messages(0, 10); err != nil || len(messages) != 0 {
		t.Errorf("a month later %d messages are left (%v)", len(messages), err)
	}
}

func TestSecretsRedactThemselves(t *testing.T) {
	person := gateway.Person{Subject: child(1)}
	card := gateway.Card{Name: "Jansen", Phone: "1"}
	values := []any{
		child(1), person, []gateway.Person{person}, card, &card, gateway.Job{Card: card, Identity: []byte(bsn(1))},
		gateway.Signal{Card: card}.Card, gateway.Status{Registration: gateway.Registration{Reference: "A-1"}},
	}
	var log bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&log, nil))
	for _, v := range values {
		logger.Info("x", "v", v)
		switch v.(type) {
		case gateway.Status: // the API shows it whole; a log does not
		default:
			log.WriteString(fmt.Sprintf("%v %+v %#v %s", v, v, v, v))
		}
	}
	for _, secret := range []string{bsn(1), "2012-05-06", "Jansen", "A-1"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("%q is told", secret)
		}
	}
}

func FuzzID(f *testing.F) {
	f.Add("018f3c1a2b3c0001a1b2c3d4e5f60718")
	f.Add("")
	f.Add("018F3C1A2B3C0001A1B2C3D4E5F60718")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := gateway.ParseID(s)
		if err != nil {
			return
		}
		if id.String() != s {
			t.Errorf("%q is written as %q", s, id)
		}
		text, err := json.Marshal(id)
		if err != nil || string(text) != `"`+s+`"` {
			t.Errorf("%s (%v)", text, err)
		}
	})
}

// A registry may sign under a new key before a gateway has heard of it.
func TestAReceiptUnderANewKeyBringsTheManifest(t *testing.T) {
	w := gatewaytest.New(t, 1)
	a := w.Run(0).Of(0)
	signal(t, a, child(1), terms("jansen", "A-1"))
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	w.Matcher.ReceiptKey = private
	w.Manifest.Registry.ReceiptKeys = append(w.Manifest.Registry.ReceiptKeys, manifest.NewKey("", public, w.Now().AddDate(-1, 0, 0)))
	w.Publish()
	s, err := a.Signal(child(2), terms("jansen", "A-2"))
	if err != nil {
		t.Fatal(err)
	}
	if s := settled(t, a, s.ID); s.State != gateway.StateRegistered {
		t.Errorf("it is %s", s.State)
	}
}
