// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"crypto/tls"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seinhuis/seinhuis/api/edge"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
	"github.com/seinhuis/seinhuis/keys"
)

// TestFront holds what stands before the API: nothing from elsewhere in the clear,
// no word of a stranger, and security.txt.
func TestFront(t *testing.T) {
	h := gatewaytest.New(t, 1).OpenOn(vfs.NewMem(), 0)
	defer h.Close()
	seen := ""
	api := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r.RemoteAddr })
	ask := func(front http.Handler, from, path, proto string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.RemoteAddr, seen = from, ""
		r.Header.Set("X-Forwarded-For", "198.51.100.9")
		if proto != "" {
			r.Header.Set("X-Forwarded-Proto", proto)
		}
		w := httptest.NewRecorder()
		front.ServeHTTP(w, r)
		return w
	}
	c := h.Config
	c.Listen, c.Proxies = "0.0.0.0:8420", []string{"10.0.0.1"}
	c.Security = edge.Contact{Contact: []string{"mailto:veilig@example.org"}, Checked: time.Now().UTC().Format(time.DateOnly)}
	front1, secured, kept, err := front(c, h.Gateway, api)
	if err != nil || secured != nil || len(kept) != 1 || kept[0].Use != "client" {
		t.Fatalf("%v, %v, %v", err, secured, kept)
	}
	for name, c := range map[string]struct {
		from, path, proto string
		seen              string
		status            int
	}{
		"proxy":                    {"10.0.0.1:9", "/v1/signalen", "https", "198.51.100.9:0", 200},
		"this machine":             {"127.0.0.1:9", "/v1/signalen", "", "127.0.0.1:9", 200},
		"health":                   {"10.0.0.1:9", "/health", "", "198.51.100.9:0", 200},
		"security.txt":             {"10.0.0.1:9", edge.SecurityPath, "https", "", 200},
		"rejects/proxy_in_clear":   {"10.0.0.1:9", "/v1/signalen", "http", "", 403},
		"rejects/another_machine":  {"10.0.0.2:9", "/v1/signalen", "https", "", 403},
		"rejects/proxy_says_not":   {"10.0.0.1:9", "/v1/signalen", "", "", 403},
		"rejects/health_elsewhere": {"10.0.0.2:9", "/healthy", "", "", 403},
	} {
		t.Run(name, func(t *testing.T) {
			w := ask(front1, c.from, c.path, c.proto)
			if w.Code != c.status || seen != c.seen {
				t.Errorf("%d, seen as from %q", w.Code, seen)
			}
			if c.status == 403 && (w.Header().Get("Content-Type") != "application/problem+json" || !strings.Contains(w.Body.String(), "urn:seinhuis:problem:tls") || w.Header().Get("Api-Version") == "") {
				t.Errorf("%v %s", w.Header(), w.Body)
			}
		})
	}
	c.Listen, c.Proxies = "127.0.0.1:8420", nil
	front2, _, _, err := front(c, h.Gateway, api)
	if err != nil {
		t.Fatal(err)
	}
	if ask(front2, "127.0.0.1:9", "/v1/signalen", "https"); seen != "127.0.0.1:9" {
		t.Errorf("without proxies it is seen as from %q", seen)
	}
}

// TestServesTLS serves the API over TLS by the command itself.
func TestServesTLS(t *testing.T) {
	c := configureWorld(t, 0)
	folder := t.TempDir()
	certPath, keyPath := filepath.Join(folder, "api.crt"), filepath.Join(folder, "api.pem")
	if err := keys.Clear.WriteTLS(certPath, keyPath, "poort", []string{"127.0.0.1"}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(c.config)
	if err != nil {
		t.Fatal(err)
	}
	var config map[string]any
	if err := json.Unmarshal(text, &config); err != nil {
		t.Fatal(err)
	}
	config["tls"] = map[string]string{"cert": certPath, "key": keyPath}
	if text, err = json.Marshal(config); err == nil {
		err = os.WriteFile(c.config, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	c.serve(t)
	pin, err := keys.PinOf(certPath)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: edge.ClientTLS(tls.Certificate{}, pin)}}
	resp, err := client.Get(strings.Replace(c.url, "http://", "https://", 1) + "/health")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("health over TLS is %d", resp.StatusCode)
	}
}
