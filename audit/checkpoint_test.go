// SPDX-License-Identifier: EUPL-1.2

package audit

import (
	"bytes"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"time"

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
