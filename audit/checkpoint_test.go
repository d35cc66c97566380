// SPDX-License-Identifier: EUPL-1.2

package audit

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	cosign "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func noteKey(t testing.TB, name string) (key, vkey string) {
	t.Helper()
	key, vkey, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		t.Fatal(err)
	}
	return key, vkey
}

func signer(t testing.TB, key string) note.Signer {
	t.Helper()
	s, err := note.NewSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestCheckpoint(t *testing.T) {
	origin := Origin("test")
	logKey, logVKey := noteKey(t, origin)
	var witnessKeys, witnesses []string
	for _, name := range []string{"one", "two", "three"} {
		key, vkey := noteKey(t, name)
		w, err := WitnessKey(vkey)
		if err != nil {
			t.Fatal(err)
		}
		witnessKeys, witnesses = append(witnessKeys, key), append(witnesses, w)
	}
	keys, err := ParseKeys(logVKey, witnesses, 2)
	if err != nil {
		t.Fatal(err)
	}
	c := Checkpoint{Origin: origin, Size: 7, Root: leafHash(7)}
	signed, err := c.Sign(signer(t, logKey))
	if err != nil {
		t.Fatal(err)
	}
	line := func(c Checkpoint, i int) []byte {
		l, err := Cosign(c, witnessKeys[i])
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	before := time.Now().Truncate(time.Second)
	cosigned := bytes.Join([][]byte{signed, line(c, 0), line(c, 2)}, nil)
	got, at, err := keys.OpenCosigned(cosigned)
	if err != nil || got != c || at.Before(before) || at.After(time.Now()) {
		t.Errorf("opens as %v of %v (%v)", got, at, err)
	}
	if got, err := keys.Open(signed); err != nil || got != c {
		t.Errorf("without cosignatures: %v (%v)", got, err)
	}

	other := c
	other.Size++
	_, strangerVKey := noteKey(t, origin)
	stranger, err := ParseKeys(strangerVKey, witnesses, 2)
	if err != nil {
		t.Fatal(err)
	}
	for reason, opened := range map[string]func() error{
		"one_cosignature": func() error { _, _, err := keys.OpenCosigned(append(bytes.Clone(signed), line(c, 1)...)); return err },
		"one_cosignature_twice": func() error {
			_, _, err := keys.OpenCosigned(bytes.Join([][]byte{signed, line(c, 1), line(c, 1)}, nil))
			return err
		},
		"cosignature_of_another": func() error {
			_, _, err := keys.OpenCosigned(bytes.Join([][]byte{signed, line(c, 1), line(other, 2)}, nil))
			return err
		},
		"foreign_log": func() error { _, err := stranger.Open(signed); return err },
		"other_size": func() error {
			_, err := keys.Open(bytes.Replace(signed, []byte("\n7\n"), []byte("\n8\n"), 1))
			return err
		},
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			if err := opened(); !errors.Is(err, ErrWitnesses) && !errors.Is(err, ErrSigner) {
				t.Errorf("got %v", err)
			}
		})
	}
	if _, err := (Checkpoint{Origin: Origin("elsewhere")}).Sign(signer(t, logKey)); !errors.Is(err, ErrLogKey) {
		t.Errorf("signs for another log: %v", err)
	}
	for _, threshold := range []int{0, 4} {
		if _, err := ParseKeys(logVKey, witnesses, threshold); !errors.Is(err, ErrWitnesses) {
			t.Errorf("takes a threshold of %d of 3", threshold)
		}
	}
}

func TestCheckpointText(t *testing.T) {
	good := Checkpoint{Origin: "o", Size: 12, Root: leafHash(1)}.Text()
	for reason, text := range map[string]string{
		"no_origin":      good[1:],
		"leading_zero":   strings.Replace(good, "12", "012", 1),
		"plus":           strings.Replace(good, "12", "+12", 1),
		"negative":       strings.Replace(good, "12", "-12", 1),
		"no_number":      strings.Replace(good, "12", "x", 1),
		"short_root":     strings.Join(append(strings.Split(good, "\n")[:2], "AAAA", ""), "\n"),
		"extension_line": good + "more\n",
		"no_newline":     strings.TrimSuffix(good, "\n"),
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			if _, err := ParseCheckpoint(text); !errors.Is(err, ErrCheckpoint) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestPublished(t *testing.T) {
	leaf := Published(Manifest, leafHash(1))
	kind, text, ok := ParsePublished(leaf.Record)
	if !ok || kind != Manifest || text != leafHash(1) || leaf.Hash() != Published(Manifest, leafHash(1)).Hash() {
		t.Error("a published leaf is not what whoever has the note makes of it")
	}
	if leaf.Hash() == Published(Directory, leafHash(1)).Hash() {
		t.Error("two kinds have one leaf")
	}
}

func FuzzParseCheckpoint(f *testing.F) {
	f.Add(Checkpoint{Origin: "o", Size: 12, Root: leafHash(1)}.Text())
	f.Fuzz(func(t *testing.T, text string) {
		if c, err := ParseCheckpoint(text); err == nil && c.Text() != text {
			t.Fatal("what parsed writes another text")
		}
	})
}

func FuzzParseAdd(f *testing.F) {
	f.Add(Add{Old: 3, Proof: tlog.TreeProof{leafHash(1), leafHash(2)}, Checkpoint: []byte("c")}.Marshal())
	f.Add(Add{}.Marshal())
	f.Add([]byte("old 1\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, err := ParseAdd(b); err == nil && !bytes.Equal(a.Marshal(), b) {
			t.Fatal("what parsed writes other bytes")
		}
	})
}

// cosignedAt is what a witness says, of another time than now.
func cosignedAt(t *testing.T, c Checkpoint, key string, at time.Time) []byte {
	t.Helper()
	parts := strings.SplitN(key, "+", 5) // PRIVATE+KEY+name+hash+key
	raw, err := base64.StdEncoding.DecodeString(parts[4])
	if err != nil {
		t.Fatal(err)
	}
	vkey, err := cosign.NewSignerForCosignatureV1(key)
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("cosignature/v1\ntime %d\n%s", at.Unix(), c.Text())
	sig := binary.BigEndian.AppendUint32(nil, vkey.KeyHash())
	sig = binary.BigEndian.AppendUint64(sig, uint64(at.Unix()))
	sig = append(sig, ed25519.Sign(ed25519.NewKeyFromSeed(raw[1:]), []byte(text))...)
	return fmt.Appendf(nil, "\u2014 %s %s\n", parts[2], base64.StdEncoding.EncodeToString(sig))
}

// A checkpoint is as old as the t-th of its newest cosignatures: fewer witnesses than it
// takes do not make it young, nor old.
func TestACheckpointIsAsOldAsItsCosignatures(t *testing.T) {
	origin := Origin("test")
	logKey, logVKey := noteKey(t, origin)
	c := Checkpoint{Origin: origin, Size: 7, Root: leafHash(7)}
	signed, err := c.Sign(signer(t, logKey))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2027, 3, 4, 12, 0, 0, 0, time.UTC)
	var witnesses []string
	for i, age := range []time.Duration{0, time.Hour, 2 * time.Hour} {
		key, vkey := noteKey(t, fmt.Sprint("witness-", i))
		w, err := WitnessKey(vkey)
		if err != nil {
			t.Fatal(err)
		}
		witnesses = append(witnesses, w)
		signed = append(signed, cosignedAt(t, c, key, now.Add(-age))...)
	}
	for threshold, want := range []time.Duration{0, 0, time.Hour, 2 * time.Hour} {
		if threshold == 0 {
			continue
		}
		keys, err := ParseKeys(logVKey, witnesses, threshold)
		if err != nil {
			t.Fatal(err)
		}
		if _, at, err := keys.OpenCosigned(signed); err != nil || !at.Equal(now.Add(-want)) {
			t.Errorf("where %d are needed it is of %v (%v), want %v", threshold, at, err, now.Add(-want))
		}
	}
}

// The log's key signs no checkpoint of another log.
func TestACheckpointOfAnotherLogUnderTheKey(t *testing.T) {
	logKey, logVKey := noteKey(t, Origin("test"))
	keys := Keys{}
	var err error
	if keys.log, err = note.NewVerifier(logVKey); err != nil {
		t.Fatal(err)
	}
	msg, err := note.Sign(&note.Note{Text: Checkpoint{Origin: Origin("other"), Size: 7, Root: leafHash(7)}.Text()}, signer(t, logKey))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Open(msg); !errors.Is(err, ErrSigner) {
		t.Errorf("got %v, want ErrSigner", err)
	}
}

// A proof where none is needed is none.
func TestAProofOfNothing(t *testing.T) {
	empty, seven := Checkpoint{}, Checkpoint{Size: 7, Root: leafHash(7)}
	proof := tlog.TreeProof{leafHash(1)}
	if seven.Follows(empty, proof) || seven.Follows(seven, proof) {
		t.Error("it is taken")
	}
	if !seven.Follows(empty, nil) || !seven.Follows(seven, nil) {
		t.Error("without one it does not follow")
	}
}
