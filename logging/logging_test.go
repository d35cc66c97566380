// SPDX-License-Identifier: EUPL-1.2

package logging_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/logging"
)

// What a log must never hold, as tests plant it.
var secrets = []string{"123456782", "Jansen", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLw", "+31 20 555 01 00", "5d41402abc4b2a76b9719d911017c592ae2b1d3d4f5a6b7c8d9e0f1a2b3c4d5e"}

type told map[string]any

// write logs once and gives the line, without its time.
func write(t *testing.T, do func(*slog.Logger)) told {
	t.Helper()
	var b bytes.Buffer
	do(logging.New(&b, slog.LevelDebug))
	for _, secret := range secrets {
		if strings.Contains(b.String(), secret) {
			t.Errorf("the log holds %q: %s", secret, b.String())
		}
	}
	line := told{}
	if err := json.Unmarshal(b.Bytes(), &line); err != nil {
		t.Fatalf("%v in %q", err, b.String())
	}
	delete(line, "time")
	return line
}

type word string

func (word) String() string { return secrets[1] }

type valuer struct{ v slog.Value }

func (v valuer) LogValue() slog.Value { return v.v }

type panics struct{}

func (panics) LogValue() slog.Value { panic(secrets[0]) }

type errValuer struct{ error }

func (errValuer) LogValue() slog.Value { return slog.StringValue(secrets[0]) }

func TestHandlerHoldsTheTable(t *testing.T) {
	const event, level = "feed not read", "WARN"
	ctx := context.Background()
	odd := []any{secrets[1]} // a key without a value
	for name, c := range map[string]struct {
		do   func(*slog.Logger)
		want told
	}{
		"as it should be": {
			func(l *slog.Logger) {
				l.Warn(event, "party", "nl-kvk:12345678/noord", "code", "unavailable", "cause", errors.New("gateway: no answer"))
			}, told{"msg": event, "party": "nl-kvk:12345678/noord", "code": "unavailable", "cause": "gateway: no answer"},
		},
		"a named string, by what it is made of": {
			func(l *slog.Logger) { l.Warn(event, "code", word("unavailable")) }, told{"msg": event, "code": "unavailable"},
		},
		"a value that gives another":  {func(l *slog.Logger) { l.Warn(event, "code", valuer{slog.StringValue("gone")}) }, told{"msg": event, "code": "gone"}},
		"no cause":                    {func(l *slog.Logger) { l.Warn(event, "cause", error(nil)) }, told{"msg": event}},
		"rejects/unknown_message":     {func(l *slog.Logger) { l.Warn(secrets[1], "party", "nl-kvk:12345678") }, told{"msg": "unlisted"}},
		"rejects/unknown_field":       {func(l *slog.Logger) { l.Warn(event, "name", secrets[1]) }, told{"msg": event}},
		"rejects/another_row's_field": {func(l *slog.Logger) { l.Warn(event, "children", 3) }, told{"msg": event}},
		"rejects/group":               {func(l *slog.Logger) { l.Warn(event, slog.Group("code", "code", secrets[1])) }, told{"msg": event, "code": "[refused]"}},
		"rejects/unknown_group":       {func(l *slog.Logger) { l.Warn(event, slog.Group("g", "code", "gone")) }, told{"msg": event}},
		"rejects/nested_groups":       {func(l *slog.Logger) { l.Warn(event, slog.Group("code", slog.Group("code", "code", secrets[1]))) }, told{"msg": event, "code": "[refused]"}},
		"rejects/value_that_gives_a_group": {
			func(l *slog.Logger) {
				l.Warn(event, "code", valuer{slog.GroupValue(slog.String("name", secrets[1]))})
			}, told{"msg": event, "code": "[refused]"},
		},
		"rejects/value_in_a_value": {func(l *slog.Logger) {
			l.Warn(event, "code", valuer{slog.AnyValue(valuer{slog.StringValue(secrets[1])})})
		}, told{"msg": event, "code": "[refused]"}},
		"rejects/value_that_panics": {func(l *slog.Logger) { l.Warn(event, "code", panics{}) }, told{"msg": event, "code": "[refused]"}},
		"rejects/with":              {func(l *slog.Logger) { l.With("name", secrets[1], "code", "gone").Warn(event) }, told{"msg": event, "code": "gone"}},
		"rejects/with_of_another_row": {
			func(l *slog.Logger) { l.With("code", "gone").Warn("stopped") }, told{"msg": "stopped"},
		},
		"rejects/with_group":            {func(l *slog.Logger) { l.WithGroup("g").Warn(event, "code", secrets[1]) }, told{"msg": event}},
		"rejects/with_behind_a_group":   {func(l *slog.Logger) { l.WithGroup("g").With("code", "gone").Warn(event) }, told{"msg": event}},
		"rejects/number_as_a_word":      {func(l *slog.Logger) { l.Warn(event, "code", secrets[0]) }, told{"msg": event, "code": "[refused]"}},
		"rejects/number_as_a_party":     {func(l *slog.Logger) { l.Warn(event, "party", secrets[0]) }, told{"msg": event, "party": "[refused]"}},
		"rejects/name_as_a_word":        {func(l *slog.Logger) { l.Warn(event, "code", secrets[1]) }, told{"msg": event, "code": "[refused]"}},
		"rejects/secret_as_a_word":      {func(l *slog.Logger) { l.Warn(event, "code", secrets[2]) }, told{"msg": event, "code": "[refused]"}},
		"rejects/tag_as_an_id":          {func(l *slog.Logger) { l.Warn("registry refused", "job", secrets[4]) }, told{"msg": "registry refused", "job": "[refused]"}},
		"rejects/number_as_a_number":    {func(l *slog.Logger) { l.Info("swept", "children", 123456782) }, told{"msg": "swept", "children": "[refused]"}},
		"rejects/number_as_a_float":     {func(l *slog.Logger) { l.Info("swept", "children", 123456782.0) }, told{"msg": "swept", "children": "[refused]"}},
		"rejects/text_as_a_number":      {func(l *slog.Logger) { l.Info("swept", "children", secrets[0]) }, told{"msg": "swept", "children": "[refused]"}},
		"rejects/text_as_a_cause":       {func(l *slog.Logger) { l.Warn(event, "cause", secrets[1]) }, told{"msg": event, "cause": "[refused]"}},
		"rejects/error_as_a_word":       {func(l *slog.Logger) { l.Warn(event, "code", errors.New(secrets[1])) }, told{"msg": event, "code": "[refused]"}},
		"rejects/error_with_a_value":    {func(l *slog.Logger) { l.Warn(event, "cause", errValuer{io.EOF}) }, told{"msg": event, "cause": "EOF"}},
		"rejects/path_as_a_route":       {func(l *slog.Logger) { l.Error("request refused", "route", "/v1/signals/"+secrets[0]) }, told{"msg": "request refused", "route": "[refused]"}},
		"rejects/url_as_an_address":     {func(l *slog.Logger) { l.Info("listening", "api", "https://u:"+secrets[2]+"@h:1") }, told{"msg": "listening", "api": "[refused]"}},
		"rejects/arguments_as_a_format": {func(l *slog.Logger) { l.Error("pebble", "what", "key 123 out of order") }, told{"msg": "pebble", "what": "[refused]"}},
		"rejects/key_without_a_value":   {func(l *slog.Logger) { l.Log(ctx, slog.LevelWarn, event, odd...) }, told{"msg": event}},
	} {
		t.Run(name, func(t *testing.T) {
			got := write(t, c.do)
			delete(got, "level")
			if fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("wrote %v, want %v", got, c.want)
			}
		})
	}
	got := write(t, func(l *slog.Logger) { l.Warn("stopped") })
	if got["level"] != level {
		t.Errorf("wrote the level as %v", got["level"])
	}
}

func TestLevel(t *testing.T) {
	var b bytes.Buffer
	log := logging.New(&b, slog.LevelWarn)
	log.Info("stopped")
	if b.Len() > 0 || log.Enabled(t.Context(), slog.LevelInfo) {
		t.Error("what is below the level is written")
	}
}

type opaque struct{ error }

func (o opaque) Unwrap() error { return o.error }

// TestCause holds what is told of an error, whoever made it.
func TestCause(t *testing.T) {
	_, notNumber := strconv.Atoi(secrets[0] + "x")
	remote := &url.Error{Op: "Post", URL: "https://h.example/hooks/" + secrets[2], Err: &net.OpError{
		Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(10, 1, 2, 3), Port: 25},
		Err: os.NewSyscallError("connect", syscall.ECONNREFUSED),
	}}
	missing := &fs.PathError{Op: "open", Path: "/etc/seinhuis/pins.json", Err: syscall.ENOENT}
	for _, c := range []struct {
		err  error
		want string
	}{
		{errors.New("gateway: no manifest in force"), "gateway: no manifest in force"},
		{errors.New(secrets[1] + " was here"), "*errors.errorString"},
		{errors.New("mail: " + secrets[1]), "*errors.errorString"},
		{fmt.Errorf("gateway: %w", errors.New(secrets[1])), "gateway: *errors.errorString"},
		{fmt.Errorf("keys: not a key: %w", notNumber), "keys: not a key: *strconv.NumError: *errors.errorString"},
		{fmt.Errorf("%s: %w", secrets[1], errors.New("keys: malformed")), "keys: malformed"},
		{fmt.Errorf("api: %w, %w", io.EOF, errors.New(secrets[1])), "api: EOF, *errors.errorString"},
		{errors.Join(errors.New(secrets[1]), errors.New("edge: closed")), "*errors.errorString; edge: closed"},
		{remote, "*url.Error: dial tcp: connect: connection refused"},
		{missing, "open /etc/seinhuis/pins.json: no such file or directory"},
		{opaque{errors.New(secrets[1])}, "*errors.errorString"},
		{&net.DNSError{Err: "no such host", Name: secrets[1]}, "*net.DNSError"},
		{context.DeadlineExceeded, "context deadline exceeded"},
		{logging.Error("the manifest names another key"), "the manifest names another key"},
		{errors.New("gateway: " + secrets[0]), "gateway: [digits]"},
		{nil, ""},
	} {
		got := logging.Cause(c.err)
		if got != c.want {
			t.Errorf("%v is told as %q, want %q", c.err, got, c.want)
		}
		if i := slices.IndexFunc(secrets, func(s string) bool { return strings.Contains(got, s) }); i >= 0 {
			t.Errorf("%q tells %q", got, secrets[i])
		}
	}
	deep := errors.New("gateway: deep")
	for range 100 {
		deep = fmt.Errorf("gateway: %w", deep)
	}
	if got := logging.Cause(deep); len(got) > 1000 {
		t.Errorf("an error wrapped a hundred times is told in %d bytes", len(got))
	}
}

func TestDuration(t *testing.T) {
	logging.Events["test"] = logging.Fields{"took": logging.Duration}
	defer delete(logging.Events, "test")
	if got := write(t, func(l *slog.Logger) { l.Info("test", "took", 1500*time.Millisecond) }); got["took"] != "1.5s" {
		t.Errorf("wrote %v", got)
	}
	if got := write(t, func(l *slog.Logger) { l.Info("test", "took", secrets[0]) }); got["took"] != "[refused]" {
		t.Errorf("wrote %v", got)
	}
}

// TestCauseOfAHandshake: what the other side says of our certificate is told.
func TestCauseOfAHandshake(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAnyClientCert}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	_, err := server.Client().Get(server.URL + "/" + secrets[2])
	got := logging.Cause(err)
	if !strings.HasPrefix(got, "*url.Error: ") || !strings.Contains(got, "certificate required") || strings.Contains(got, secrets[2]) {
		t.Errorf("told as %q", got)
	}
}
