// SPDX-License-Identifier: EUPL-1.2

package gateway_test

import (
	"bytes"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/mod/sumdb/note"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/api/edge"
	"github.com/seinhuis/seinhuis/audit"
	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/manifest/manifesttest"
)

// A logged is a gateway of party 0 in a world whose registry keeps its log.
type logged struct {
	*testing.T
	*gatewaytest.World
	h *gatewaytest.House
}

func newLogged(t *testing.T) *logged {
	t.Helper()
	w := gatewaytest.NewLogged(t, 1)
	x := &logged{t, w, w.Run(0)}
	x.Sequence()
	return x
}

// alarms checks the log, and gives what is an alarm then.
func (x *logged) alarms() string {
	x.Helper()
	if err := x.h.CheckLog(x.Context()); err != nil {
		x.Fatal(err)
	}
	var list []string
	for _, a := range x.h.LogAlarms() {
		list = append(list, string(a.Fault))
	}
	return strings.Join(list, " ")
}

func (x *logged) want(when, alarms string) {
	x.Helper()
	if got := x.alarms(); got != alarms {
		x.Fatalf("%s: alarms %q; %q were expected\n%s", when, got, alarms, x.World.Log)
	}
}

// signal has a signal registered, and taken up in the log.
func (x *logged) signal(n int) {
	x.Helper()
	signal(x.T, x.h.Of(0), child(n), terms("w.een", fmt.Sprint("KENMERK-", n)))
}

// changing has the registry change what it answers at a path.
func (x *logged) changing(path string, change func([]byte) []byte) {
	x.World.Registry.Rewrite(func(at string, answer []byte) []byte {
		if at == path {
			return change(answer)
		}
		return answer
	})
}

func (x *logged) measured(reason string) float64 {
	x.Helper()
	families, err := x.h.Metrics.Gather()
	if err != nil {
		x.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "seinhuis_gateway_log_alarm" {
			for _, m := range f.Metric {
				if m.Label[0].GetValue() == reason {
					return m.Gauge.GetValue()
				}
			}
		}
	}
	x.Fatalf("%s is not measured", reason)
	return 0
}

const (
	checkpointPath  = "/v1/log/checkpoint"
	consistencyPath = "/v1/log/consistency"
	proofsPath      = "/v1/log/proofs"
)

// A log that is right gives no alarm, and what was proven is not asked for again.
func TestLogIsChecked(t *testing.T) {
	x := newLogged(t)
	x.want("first", "")
	x.signal(1)
	x.signal(2)
	if owed := x.h.Of(0).Owed(); len(owed) != 2 {
		t.Fatalf("%d leaves are to be proven; 2 were expected", len(owed))
	}
	x.want("before they are in the log", "")
	if owed := x.h.Of(0).Owed(); len(owed) != 2 {
		t.Fatalf("%d leaves are to be proven before they are in the log", len(owed))
	}
	x.Sequence()
	x.want("after", "")
	if owed := x.h.Of(0).Owed(); len(owed) != 0 {
		t.Fatalf("%d leaves are still to be proven", len(owed))
	}
	x.Advance(10 * time.Minute)
	x.want("later", "")
	if strings.Contains(x.World.Log.String(), "log alarm") {
		t.Fatal(x.World.Log)
	}
}

// Each alarm names what failed, comes when it is due, and goes by itself.
func TestLogAlarms(t *testing.T) {
	cosignatures := func(msg []byte) int { return bytes.Count(msg, []byte("/witness ")) }
	for name, c := range map[string]struct {
		fault gateway.LogFault
		waits bool // ten minutes
		wrong func(*logged)
	}{
		"unreachable": {gateway.LogFaultUnreachable, true, func(x *logged) { x.World.Registry.Set(gatewaytest.Away) }},
		"proofs_withheld": {gateway.LogFaultUnreachable, true, func(x *logged) {
			x.changing(proofsPath, func([]byte) []byte { return []byte("<html>") })
		}},
		"signed_by_another_key": {gateway.LogFaultSignature, false, func(x *logged) {
			x.changing(checkpointPath, func(msg []byte) []byte {
				other, _ := manifesttest.Signer(x.T, audit.Origin("test"))
				text, _, _ := bytes.Cut(msg, []byte("\n\n"))
				return manifesttest.Sign(x.T, string(text)+"\n", other)
			})
		}},
		"one_cosignature": {gateway.LogFaultWitnesses, false, func(x *logged) {
			x.changing(checkpointPath, func(msg []byte) []byte {
				for cosignatures(msg) > 1 {
					at := bytes.LastIndexByte(msg[:len(msg)-1], '\n')
					msg = msg[:at+1]
				}
				return msg
			})
		}},
		"stale":         {gateway.LogFaultStale, false, func(x *logged) { x.Advance(16 * time.Minute) }},
		"of_the_future": {gateway.LogFaultStale, false, func(x *logged) { x.Advance(-6 * time.Minute) }}, // and the world is behind
		"leaf_dropped": {gateway.LogFaultReceipt, true, func(x *logged) {
			x.Serve(x.Sequencer(200)) // nothing was seen of its own one
		}},
		"another_manifest": {gateway.LogFaultManifest, true, func(x *logged) {
			other := x.Sequencer(0)
			trust := other.Trust
			other.Trust = func() (*manifest.Manifest, *manifest.Directory) {
				m, d := trust()
				changed := *m
				changed.Version++
				return &changed, d
			}
			x.Serve(other)
		}},
		"another_directory": {gateway.LogFaultDirectory, true, func(x *logged) {
			other := x.Sequencer(0)
			trust := other.Trust
			other.Trust = func() (*manifest.Manifest, *manifest.Directory) {
				m, d := trust()
				changed := *d
				changed.Version++
				return m, &changed
			}
			x.Serve(other)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := newLogged(t)
			if c.fault == gateway.LogFaultReceipt {
				x.signal(1)
			}
			c.wrong(x)
			if c.waits {
				x.want("at once", "")
				x.Advance(10 * time.Minute)
			}
			x.want("when it is due", string(c.fault))
			if x.measured(string(c.fault)) != 1 || !strings.Contains(x.World.Log.String(), `"msg":"log alarm","reason":"`+string(c.fault)+`"`) {
				t.Errorf("it is not measured or not logged: %s", x.World.Log)
			}
			health, err := x.h.Health()
			if err != nil || !slices.ContainsFunc(health.Parts, func(p edge.HealthPart) bool { return p.Name == "log" && p.Code == string(c.fault) }) {
				t.Errorf("health is %v, %v", health, err)
			}
			if c.fault != gateway.LogFaultUnreachable { // a signal waits for no log
				x.signal(7)
			}
			if c.fault == gateway.LogFaultStale {
				return // the machine's clock does not go back
			}
			if c.fault == gateway.LogFaultReceipt || c.fault == gateway.LogFaultManifest || c.fault == gateway.LogFaultDirectory {
				return // of that tree no other comes that goes on from it: see TestLogForked
			}
			x.World.Registry.Set(gatewaytest.Works)
			x.World.Registry.Rewrite(nil)
			x.want("when it is right again", "")
			if !strings.Contains(x.World.Log.String(), "log alarm ended") {
				t.Error("its end is not logged")
			}
		})
	}
}

// An older checkpoint than one that was seen is no news.
func TestLogSmaller(t *testing.T) {
	x := newLogged(t)
	var old []byte
	x.changing(checkpointPath, func(msg []byte) []byte { old = bytes.Clone(msg); return msg })
	x.want("first", "")
	x.World.Registry.Rewrite(nil)
	x.signal(1)
	x.Sequence()
	x.want("second", "")
	x.changing(checkpointPath, func([]byte) []byte { return old })
	x.want("the first again", "smaller")
	x.World.Registry.Rewrite(nil)
	x.want("the second again", "")
}

// Two trees under one key are shown to one gateway: it keeps both checkpoints, says so
// until somebody has taken the file, and goes on then.
func TestLogForked(t *testing.T) {
	for name, leaves := range map[string]int{"same_size": -1, "larger": 40} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := newLogged(t)
			x.signal(1)
			x.Sequence()
			x.want("own", "")
			if leaves < 0 {
				leaves = int(x.seen().Size) - 2 // beside manifest and directory
			}
			x.Serve(x.Sequencer(leaves))
			x.want("another", "forked")
			x.want("still", "forked")

			evidence := x.read(gateway.ForkFile)
			origin := audit.Origin("test") + "\n"
			at := bytes.LastIndex(evidence, []byte("\n\n"+origin))
			if at < 0 || !bytes.HasPrefix(evidence, []byte(origin)) {
				t.Fatalf("the evidence is %s", evidence)
			}
			keys, err := audit.ParseKeys(x.Manifest.Registry.Log, x.Manifest.Witnesses(), x.Manifest.Threshold)
			if err != nil {
				t.Fatal(err)
			}
			var trees []audit.Checkpoint
			for _, msg := range [][]byte{evidence[:at+1], evidence[at+2:]} {
				c, _, err := keys.OpenCosigned(msg)
				if err != nil {
					t.Errorf("a checkpoint of the evidence does not open: %v\n%s", err, msg)
				}
				trees = append(trees, c)
			}
			if trees[0].Root == trees[1].Root || leaves < 40 && trees[0].Size != trees[1].Size {
				t.Errorf("the evidence is no fork: %s", evidence)
			}

			x.Own()
			x.want("its own again", "forked")
			x.h.Stop()
			x.h = x.RunOn(x.h.FS, 0)
			x.want("after a restart", "forked")
			if err := x.h.FS.Rename(filepath.Join(x.h.Config.Data, gateway.ForkFile), "elsewhere.txt"); err != nil {
				t.Fatal(err)
			}
			x.want("somebody has the file", "")
			x.signal(2)
			x.Sequence()
			x.want("later", "")
			if n := len(x.h.Of(0).Owed()); n != 0 {
				t.Errorf("%d leaves are still to be proven", n)
			}
		})
	}
}

func (x *logged) read(name string) []byte {
	x.Helper()
	f, err := x.h.FS.Open(filepath.Join(x.h.Config.Data, name))
	if err != nil {
		x.Fatal(err)
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	if err != nil {
		x.Fatal(err)
	}
	return text
}

// seen is the published checkpoint.
func (x *logged) seen() audit.Checkpoint {
	x.Helper()
	var c audit.Checkpoint
	x.changing(checkpointPath, func(msg []byte) []byte {
		verifier, err := note.NewVerifier(x.Manifest.Registry.Log)
		if err != nil {
			x.Error(err)
		}
		n, err := note.Open(msg, note.VerifierList(verifier))
		if err != nil {
			x.Error(err)
			return msg
		}
		c, _ = audit.ParseCheckpoint(n.Text)
		return msg
	})
	x.alarms()
	x.World.Registry.Rewrite(nil)
	return c
}

// The leaf of whatever got a receipt is listed in the batch that takes it: in every
// picture of the disk, whatever was cut off, a receipt that is there has its leaf listed.
func TestLeavesAreListedWithTheirReceipts(t *testing.T) {
	w := gatewaytest.NewLogged(t, 1)
	disk := vfs.NewCrashableMem()
	h := w.RunOn(disk, 0)
	p := h.Of(0)
	var pictures []vfs.FS
	look := func() { pictures = append(pictures, disk.CrashClone(vfs.CrashCloneCfg{})) }
	for n := range 4 {
		s := signal(t, p, child(n), terms("w.een", fmt.Sprint("KENMERK-", n)))
		look()
		if n%2 == 0 {
			if _, err := p.Renew(s.ID, gateway.Subject{}, gateway.Terms{TermDays: 100 + n}); err != nil {
				t.Fatal(err)
			}
			settled(t, p, s.ID)
			look()
		}
		if n == 3 {
			if _, err := p.Withdraw(s.ID, api.ReasonEnded); err != nil {
				t.Fatal(err)
			}
			settled(t, p, s.ID)
			look()
		}
	}
	h.Stop()
	receipts := 0
	for i, fs := range pictures {
		again := w.OpenOn(fs, 0)
		owed := again.Of(0).Owed()
		for _, r := range again.Of(0).Receipts() {
			receipts++
			if !slices.Contains(owed, r.Leaf) {
				t.Errorf("picture %d: a receipt's leaf is not listed", i)
			}
		}
		if i == len(pictures)-1 && len(owed) != 7 {
			t.Errorf("%d leaves are listed of 4 signals, 2 renewals and a withdrawal", len(owed))
		}
		if i < len(pictures)-1 {
			if err := again.Close(); err != nil {
				t.Fatal(err)
			}
			continue
		}
		w.Sequence()
		x := &logged{t, w, again}
		x.want("after the restart", "")
		if owed := again.Of(0).Owed(); len(owed) != 0 {
			t.Errorf("%d leaves are not proven", len(owed))
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if receipts == 0 {
		t.Fatal("no picture has a receipt")
	}
}

// A registry that is lost before a leaf has its number, and put back from a backup of
// before, cannot prove it. The receipt that the resend brings takes its place; of an act
// that is not sent again the leaf is given up, and that is told. Nothing of it is an alarm.
func TestLogAfterARestore(t *testing.T) {
	x := newLogged(t)
	p := x.h.Of(0)
	x.signal(1)
	ends := signal(t, p, child(2), terms("w.een", "KENMERK-2"))
	x.Sequence()
	x.want("before", "")
	x.Backup("backup")
	x.Advance(30 * time.Second)
	x.signal(3)
	if _, err := p.Withdraw(ends.ID, api.ReasonEnded); err != nil {
		t.Fatal(err)
	}
	settled(t, p, ends.ID)
	x.Advance(3 * time.Minute)
	before := p.Owed()
	if len(before) != 2 {
		t.Fatalf("%d leaves are to be proven; 2 were expected", len(before))
	}
	x.Restore("backup")
	x.Sequence()
	kept := func() (n int) {
		for _, leaf := range p.Owed() {
			if slices.Contains(before, leaf) {
				n++
			}
		}
		return n
	}
	for deadline := time.Now().Add(patience); kept() > 1; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the resend takes no leaf's place")
		}
	}
	x.Sequence()
	x.want("after the resend", "")
	if n := kept(); n != 1 {
		t.Fatalf("%d leaves of before are left; that of the withdrawal was expected", n)
	}
	x.Advance(8 * time.Minute)
	x.want("eleven minutes after its receipt, eight after the restore", "")
	if n := kept(); n != 1 {
		t.Fatalf("it is given up too early: %d are left", n)
	}
	x.Advance(2 * time.Minute)
	x.want("later", "")
	if n := len(p.Owed()); n != 0 || !strings.Contains(x.World.Log.String(), `"msg":"leaves lost in a restore"`) {
		t.Errorf("%d leaves are still to be proven, or that one is lost is not told", n)
	}
}

// A proof counts if it proves, and not because it was given.
func TestLogProofsAreVerified(t *testing.T) {
	x := newLogged(t)
	x.changing(proofsPath, func(answer []byte) []byte {
		return bytes.ReplaceAll(answer, []byte(`"number":`), []byte(`"number":1`))
	})
	x.want("at once", "")
	x.Advance(10 * time.Minute)
	x.want("when it is due", "manifest directory")
}
