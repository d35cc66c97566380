// SPDX-License-Identifier: EUPL-1.2

package gateway_test

import (
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/seinhuis/seinhuis/disk/disktest"
	"github.com/seinhuis/seinhuis/gateway"
)

// Power that is lost while a gateway makes its store, before any operation on the disk,
// leaves something that the next start opens or makes again.
func TestPowerLostAtTheFirstStart(t *testing.T) {
	for seed := range uint64(16) {
		rng := rand.New(rand.NewPCG(seed, 1))
		mem := vfs.NewCrashableMem()
		var mu sync.Mutex
		var pictures []*vfs.MemFS
		camera := disktest.Faulty(mem, func(errorfs.Op) error {
			mu.Lock()
			defer mu.Unlock()
			kept := []int{0, 10, 50, 90, 100}[rng.IntN(5)]
			pictures = append(pictures, mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: kept, RNG: rng}))
			return nil
		})
		if err := gateway.OpenStore(camera); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		taken := pictures
		mu.Unlock()
		if len(taken) < 20 {
			t.Fatalf("%d pictures: nothing was tried", len(taken))
		}
		for i, picture := range taken {
			if err := gateway.OpenStore(picture); err != nil {
				t.Errorf("seed %d, picture %d: %v", seed, i, err)
			}
		}
	}
}
