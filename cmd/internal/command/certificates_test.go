// SPDX-License-Identifier: EUPL-1.2

package command

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/seinhuis/seinhuis/api/edge"
	"github.com/seinhuis/seinhuis/keys"
	"github.com/seinhuis/seinhuis/logging"
)

// pairs makes certificates in folder: a.crt with a.pem, and so on.
func pairs(t *testing.T, folder string, names ...string) map[string]tls.Certificate {
	t.Helper()
	made := map[string]tls.Certificate{}
	for _, name := range names {
		cert, key := filepath.Join(folder, name+".crt"), filepath.Join(folder, name+".pem")
		if err := keys.Clear.WriteTLS(cert, key, name, []string{"127.0.0.1"}); err != nil {
			t.Fatal(err)
		}
		pair, err := keys.Clear.ReadTLS(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		made[name] = pair
	}
	return made
}

func copyFile(t *testing.T, folder, from, to string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, from))
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, to), text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestCertificatesAreTakenOver replaces the files of a listener one by one while it
// serves, and looks at what it shows, logs and measures after each.
func TestCertificatesAreTakenOver(t *testing.T) {
	folder := t.TempDir()
	made := pairs(t, folder, "a", "b", "c")
	copyFile(t, folder, "a.crt", "tls.crt")
	copyFile(t, folder, "a.pem", "tls.pem")
	pair := &keys.Pair{Cert: filepath.Join(folder, "tls.crt"), Key: filepath.Join(folder, "tls.pem")}
	load := func() (bool, error) {
		return pair.Load(func(c tls.Certificate) error {
			if c.Leaf.Subject.CommonName == "c" {
				return errors.New("keys: nobody looks for it")
			}
			return nil
		})
	}
	if _, err := load(); err != nil {
		t.Fatal(err)
	}
	var logged bytes.Buffer
	metrics := prometheus.NewRegistry()
	ctx, cancel := context.WithCancel(t.Context())
	s, _ := NewService(ctx, logging.New(&logged, slog.LevelInfo))
	s.Listen("public", "127.0.0.1:0", http.NotFoundHandler(), edge.PublicTLS(pair.Current), Few)
	s.KeepCertificates(metrics, Kept{Use: "public", Pair: pair, Load: load})
	address := s.addresses[1].(string)
	defer func() {
		cancel()
		if err := s.group.Wait(); err != nil {
			t.Error(err)
		}
	}()

	for _, step := range []struct {
		cert, key string // what the files hold now
		shown     string
		refused   int
		logs      string
	}{
		{"a", "a", "a", 0, ""},
		{"b", "a", "a", 1, "certificate refused"},
		{"b", "a", "a", 1, ""}, // once is enough
		{"b", "b", "b", 0, "certificate replaced"},
		{"c", "c", "b", 1, "certificate refused"},
		{"b", "b", "b", 0, ""},
		{"b", "a", "b", 1, "certificate refused"}, // again
		{"a", "a", "a", 0, "certificate replaced"},
	} {
		copyFile(t, folder, step.cert+".crt", "tls.crt")
		copyFile(t, folder, step.key+".pem", "tls.pem")
		logged.Reset()
		s.certificates.read(s.log)
		name := fmt.Sprintf("after %s.crt with %s.pem", step.cert, step.key)
		conn, err := tls.Dial("tcp", address, edge.ClientTLS(tls.Certificate{}, keys.SPKIHash(made[step.shown].Leaf)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		conn.Close()
		if got := logged.String(); step.logs == "" && got != "" || !strings.Contains(got, step.logs) {
			t.Errorf("%s it logs %q", name, got)
		}
		want := fmt.Sprintf(`# HELP seinhuis_certificate_refused Certificates whose files hold something else than what is in use, which is refused.
# TYPE seinhuis_certificate_refused gauge
seinhuis_certificate_refused{use="public"} %d
`, step.refused)
		if err := testutil.GatherAndCompare(metrics, strings.NewReader(want), "seinhuis_certificate_refused"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		ends, err := testutil.GatherAndCount(metrics, "seinhuis_certificate_not_after_seconds")
		if err != nil || ends != 1 {
			t.Errorf("%s: %d, %v", name, ends, err)
		}
	}
}

// TestFront serves as a registry or an evaluator does: to parties directly, to a proxy
// with a key of its own, and to one on the same machine.
func TestFront(t *testing.T) {
	folder := t.TempDir()
	made := pairs(t, folder, "server", "proxy", "party")
	pin := func(name string) [32]byte { return keys.SPKIHash(made[name].Leaf) }
	program := Program{Name: "x"}
	file := filepath.Join(folder, "x.json")
	front := func(text string) (*Front, error) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var c struct {
			Front
			Exchange string `json:"exchange"`
		}
		if err := program.ReadConfig(file, &c); err != nil {
			return nil, err
		}
		return &c.Front, c.Front.Check(program, file, c.Exchange)
	}
	const tlsFiles = `"tls":{"cert":"server.crt","key":"server.pem"}`
	named := func(want string) func([32]byte) error {
		return func(got [32]byte) error {
			if got != pin(want) {
				return errors.New("another pin")
			}
			return nil
		}
	}
	for name, c := range map[string]struct {
		config string
		pin    string // whose the manifest names
		ask    func(address string) *http.Request
		client *tls.Config
		want   int
	}{
		"direct": {`{` + tlsFiles + `,"exchange":"127.0.0.1:0"}`, "server", nil, edge.ClientTLS(made["party"], pin("server")), 200},
		"proxy": {
			fmt.Sprintf(`{%s,"exchange":"127.0.0.1:0","proxy":{"keys":["%x"],"cert":"proxy.crt"}}`, tlsFiles, pin("proxy")), "proxy",
			nil, edge.ClientTLS(made["proxy"], pin("server")), 401, // it says of nobody
		},
		"local": {`{"exchange":"127.0.0.1:0","proxy":{"local":true,"cert":"proxy.crt"}}`, "proxy", nil, nil, 401},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := front(c.config)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.Load(named("party")); err == nil {
				t.Error("a pin that the manifest does not name is taken")
			}
			if _, err := f.Load(named(c.pin)); err != nil {
				t.Fatal(err)
			}
			if err := f.Named(named(c.pin)); err != nil {
				t.Error(err)
			}
			if f.Named(named("party")) == nil {
				t.Error("a manifest that names another key is no fault")
			}
			ctx, cancel := context.WithCancel(t.Context())
			s, _ := NewService(ctx, logging.Discard())
			f.ListenParties(s, "exchange", "127.0.0.1:0", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if edge.PeerKey(r) != pin("party") {
					w.WriteHeader(http.StatusUnauthorized)
				}
			}), func(spki [32]byte) bool { return spki == pin("party") })
			s.KeepCertificates(prometheus.NewRegistry(), f.Kept(named(c.pin))...)
			defer func() {
				cancel()
				if err := s.group.Wait(); err != nil {
					t.Error(err)
				}
			}()
			if s.failed != nil {
				t.Fatal(s.failed)
			}
			scheme := "https"
			if c.client == nil {
				scheme = "http"
			}
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: c.client}}
			resp, err := client.Get(scheme + "://" + s.addresses[1].(string))
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if resp.StatusCode != c.want {
				t.Errorf("answered %d", resp.StatusCode)
			}
		})
	}
	for reason, text := range map[string]string{
		"no_certificate":          `{"exchange":"127.0.0.1:0"}`,
		"local_for_all":           `{"exchange":"0.0.0.0:0","proxy":{"local":true,"cert":"proxy.crt"}}`,
		"local_without_cert":      `{` + tlsFiles + `,"exchange":"127.0.0.1:0","proxy":{"local":true}}`,
		"unix_with_tls":           `{` + tlsFiles + `,"exchange":"unix:/run/x"}`,
		"pin_that_is_none":        `{` + tlsFiles + `,"exchange":"127.0.0.1:0","proxy":{"keys":["ab"]}}`,
		"security_that_is_old":    `{` + tlsFiles + `,"exchange":"127.0.0.1:0","security":{"contact":["mailto:a@example.org"],"checked":"2020-01-01"}}`,
		"security_without_reach":  `{` + tlsFiles + `,"exchange":"127.0.0.1:0","security":{"checked":"2020-01-01"}}`,
		"unknown_field_in_a_part": `{` + tlsFiles + `,"exchange":"127.0.0.1:0","proxy":{"key":[]}}`,
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			if _, err := front(text); err == nil || !strings.Contains(err.Error(), file) {
				t.Errorf("got %v, want an error that names the file", err)
			}
		})
	}
}
