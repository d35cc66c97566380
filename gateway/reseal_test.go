// SPDX-License-Identifier: EUPL-1.2

package gateway_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
	"github.com/seinhuis/seinhuis/keys"
)

// renew gives the storage key of a world a new generation, or takes the older ones out.
func renewStorage(t *testing.T, w *gatewaytest.World, change func([]byte) ([]byte, error)) {
	t.Helper()
	fatal(t, keys.Clear.Change(w.Configure(0).StorageKey, change))
}

// sealAll seals all rows anew, few at a time, with something done in between.
func sealAll(t *testing.T, g *gateway.Gateway, between func()) {
	t.Helper()
	var from []byte
	for {
		next, err := gateway.SealAnew(g, from, 5)
		fatal(t, err)
		if next == nil {
			return
		}
		from = next
		if between != nil {
			between()
		}
	}
}

// Rows move to the newest generation while the gateway works; then it needs no other, and
// finds everything. A gateway does it by itself, and says when it is done.
func TestStorageKeyIsRenewed(t *testing.T) {
	w := gatewaytest.New(t, 2)
	disk := vfs.NewMem()
	h, other := w.RunOn(disk, 0), w.Run(1)
	first := signal(t, h.Of(0), child(0), terms("jansen", "A-0"))
	signal(t, other.Of(1), child(0), terms("smit", "B-0"))
	inbox(t, h.Of(0), 1)
	h.Stop()
	for generation := byte(2); generation <= 3; generation++ {
		renewStorage(t, w, keys.RootsForm.Renew)
		h = w.OpenOn(disk, 0)
		n := 10 * int(generation)
		sealAll(t, h.Gateway, func() { // changes rows before and behind
			n++
			_, err := h.Of(0).Signal(child(n), terms("pieters", fmt.Sprint("A-", n)))
			fatal(t, err)
		})
		if rows := gateway.Generations(t, h.Gateway); len(rows) != 1 || rows[generation] == 0 {
			t.Errorf("rows lie under generations %v, want %d alone", rows, generation)
		}
		had := held(t, h.Of(0))
		fatal(t, h.Gateway.Close())
		renewStorage(t, w, keys.RootsForm.Newest)
		h = w.OpenOn(disk, 0)
		if got := held(t, h.Of(0)); !slices.Equal(got, had) {
			t.Errorf("under generation %d alone it holds\n%q\nand held\n%q", generation, got, had)
		}
		fatal(t, h.Gateway.Close())
	}
	h = w.RunOn(disk, 0)
	again := signal(t, h.Of(0), child(0), terms("jansen", "A-0"))
	if again.Into != first.ID {
		t.Error("what was there under the first generation is not found")
	}
	h.Stop()

	renewStorage(t, w, keys.RootsForm.Renew)
	h = w.OpenOn(disk, 0)
	if counted := behind(t, h); counted != 1 {
		t.Errorf("that rows are behind is measured as %v", counted)
	}
	fatal(t, h.Gateway.Close())
	h = w.RunOn(disk, 0)
	eventually(t, "the rows are not sealed anew by themselves", func() bool {
		return strings.Contains(w.Log.String(), `"rows under the newest key"`) && behind(t, h) == 0
	})
	if rows := gateway.Generations(t, h.Gateway); len(rows) != 1 || rows[4] == 0 {
		t.Errorf("by itself it leaves rows under %v", rows)
	}
}

func behind(t *testing.T, h *gatewaytest.House) float64 {
	t.Helper()
	families, err := h.Metrics.Gather()
	fatal(t, err)
	for _, f := range families {
		if f.GetName() == "seinhuis_gateway_storage_key_behind" {
			return f.Metric[0].Gauge.GetValue()
		}
	}
	t.Fatal("it is not measured")
	return 0
}

// A generation that is taken out too early opens nothing, and put back all.
func TestStorageKeyIsMissedAtOnce(t *testing.T) {
	w := gatewaytest.New(t, 1)
	disk := vfs.NewMem()
	h := w.OpenOn(disk, 0)
	for n := range 20 {
		_, err := h.Of(0).Signal(child(n), terms("jansen", fmt.Sprint("A-", n)))
		fatal(t, err)
	}
	had := held(t, h.Of(0))
	fatal(t, h.Gateway.Close())
	renewStorage(t, w, keys.RootsForm.Renew)
	both, err := keys.Clear.ReadPrivate(w.Configure(0).StorageKey)
	fatal(t, err)
	for chunks := 0; ; chunks++ { // as far as the pass has come
		h = w.OpenOn(disk, 0)
		var from []byte
		for range chunks {
			from, err = gateway.SealAnew(h.Gateway, from, 20)
			fatal(t, err)
			if from == nil {
				break
			}
		}
		fatal(t, h.Gateway.Close())
		if chunks > 0 && from == nil {
			return
		}
		renewStorage(t, w, keys.RootsForm.Newest)
		if _, err := gateway.Open(w.Configure(0), gateway.Options{Now: w.Now, FS: disk}); !errors.Is(err, gateway.ErrStore) {
			t.Fatalf("after %d steps it opens: %v", chunks, err)
		}
		renewStorage(t, w, func([]byte) ([]byte, error) { return both, nil })
		h = w.OpenOn(disk, 0)
		if got := held(t, h.Of(0)); !slices.Equal(got, had) {
			t.Fatalf("after %d steps it holds\n%q\nand held\n%q", chunks, got, had)
		}
		fatal(t, h.Gateway.Close())
	}
}

// Whenever the power fails while rows are sealed anew, all are there, and it goes on.
func TestPowerCutWhileRowsAreSealedAnew(t *testing.T) {
	w := gatewaytest.New(t, 1)
	disk := vfs.NewCrashableMem()
	h := w.OpenOn(disk, 0)
	for n := range 6 {
		_, err := h.Of(0).Signal(child(n), terms("jansen", fmt.Sprint("A-", n)))
		fatal(t, err)
	}
	had := held(t, h.Of(0))
	fatal(t, h.Gateway.Close())
	renewStorage(t, w, keys.RootsForm.Renew)
	h = w.OpenOn(disk, 0)
	var pictures []*vfs.MemFS
	rng := rand.New(rand.NewPCG(1, 2))
	picture := func() {
		for _, percent := range []int{0, 50, 100} {
			pictures = append(pictures, disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng}))
		}
	}
	picture()
	sealAll(t, h.Gateway, picture)
	picture()
	last := len(pictures) - 3
	for i, after := range pictures {
		h := w.OpenOn(after, 0)
		if got := held(t, h.Of(0)); !slices.Equal(got, had) {
			t.Errorf("picture %d holds\n%q\nwant\n%q", i, got, had)
		}
		if rows := gateway.Generations(t, h.Gateway); i >= last && len(rows) != 1 {
			t.Errorf("picture %d, after it had ended, has rows under %v", i, rows)
		}
		sealAll(t, h.Gateway, nil)
		if rows := gateway.Generations(t, h.Gateway); len(rows) != 1 {
			t.Errorf("picture %d: rows lie under %v in the end", i, rows)
		}
		fatal(t, h.Gateway.Close())
	}
	fatal(t, h.Gateway.Close())
}

// What changes while rows are sealed anew is not undone.
func TestRowsAreSealedAnewWhileTheyChange(t *testing.T) {
	w := gatewaytest.New(t, 1)
	disk := vfs.NewMem()
	h := w.OpenOn(disk, 0)
	const rows = 2000
	for n := range rows {
		fatal(t, gateway.PutRow(h.Gateway, n, "old"))
	}
	fatal(t, h.Gateway.Close())
	renewStorage(t, w, keys.RootsForm.Renew)
	h = w.OpenOn(disk, 0)
	var work sync.WaitGroup
	for at := range 4 {
		work.Go(func() {
			for n := at; n < rows; n += 4 {
				if err := gateway.PutRow(h.Gateway, n, "new"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	var from []byte
	for {
		next, err := gateway.SealAnew(h.Gateway, from, 100)
		fatal(t, err)
		if from = next; next == nil {
			break
		}
	}
	work.Wait()
	undone := 0
	for n := range rows {
		got, err := gateway.GetRow(h.Gateway, n)
		fatal(t, err)
		if got != "new" {
			undone++
		}
	}
	if undone > 0 {
		t.Errorf("%d rows are again what they were", undone)
	}
	if by := gateway.Generations(t, h.Gateway); len(by) != 1 {
		t.Errorf("rows lie under %v", by)
	}
	fatal(t, h.Gateway.Close())
}
