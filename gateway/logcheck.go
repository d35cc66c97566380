// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/audit"
	"github.com/seinhuis/seinhuis/disk"
	"github.com/seinhuis/seinhuis/manifest"
)

// The registry's log proves that everybody is shown the same manifest and directory, and
// that what a receipt was given for was logged. Here it is checked, about every minute:
//
//	published checkpoint ─▶ signed by the log ─▶ cosigned by t witnesses, lately
//	                     ─▶ goes on from the highest that was seen
//	                     ─▶ holds the manifest, the directory, and each receipt's leaf
//
// The highest checkpoint, and the leaves that are still to be proven, are on disk. What
// fails is told to people; no signal waits for it.

// A LogFault names what is wrong with the registry's log, as a party sees it.
type LogFault string

// Faults of the log, in the order in which they are looked for.
const (
	LogFaultUnreachable LogFault = "unreachable" // a checkpoint or a proof does not come
	LogFaultSignature   LogFault = "signature"   // the log's key has not signed it
	LogFaultWitnesses   LogFault = "witnesses"   // too few have cosigned it
	LogFaultSmaller     LogFault = "smaller"     // it is of before the one that was seen
	LogFaultForked      LogFault = "forked"      // it does not go on from the one that was seen
	LogFaultStale       LogFault = "stale"       // the cosignatures are old
	LogFaultManifest    LogFault = "manifest"    // the manifest in force is not in it
	LogFaultDirectory   LogFault = "directory"   // the directory is not
	LogFaultReceipt     LogFault = "receipt"     // the leaf of a receipt is not
)

// LogFaults are all of them.
var LogFaults = []LogFault{
	LogFaultUnreachable, LogFaultSignature, LogFaultWitnesses, LogFaultSmaller, LogFaultForked, LogFaultStale,
	LogFaultManifest, LogFaultDirectory, LogFaultReceipt,
}

// waits tells whether a fault may mend by itself: what comes within logPatience is no alarm.
// A receipt's leaf has had its time when it is looked at.
func (f LogFault) waits() bool {
	return f == LogFaultUnreachable || f == LogFaultManifest || f == LogFaultDirectory
}

const (
	logEvery      = time.Minute      // about
	logPatience   = 10 * time.Minute // before what does not come is an alarm, and before cosignatures are old
	logAnswer     = 20 * time.Second // how long the registry may take
	maxCheckpoint = 64 << 10         // bytes
	maxLogProofs  = 4 << 20          // bytes

	// ForkFile keeps, in the data folder, the two checkpoints that prove a fork. As long as
	// it is there the fork is an alarm; whoever has seen to it puts it elsewhere.
	ForkFile = "log-fork.txt"
)

// logState is the row of what is known of the log.
type logState struct {
	Checkpoint []byte                 `json:"checkpoint,omitempty"` // the highest seen, as it was published
	Faults     map[LogFault]time.Time `json:"faults,omitempty"`     // and since when
}

// A LogAlarm is a fault of the log that somebody has to look at.
type LogAlarm struct {
	Fault LogFault
	Since time.Time
}

// logWatch is the checking of the log.
type logWatch struct {
	checking sync.Mutex // one check at a time

	mu       sync.Mutex
	state    logState
	causes   map[LogFault]error
	told     map[LogFault]bool // alarms that were logged
	unproven int               // leaves, after the last check
}

// A verdict is what a check found of the faults that it got to look for.
type verdict struct {
	found  map[LogFault]bool
	causes map[LogFault]error
}

func (v verdict) is(f LogFault, bad bool, cause error) {
	v.found[f] = bad
	if bad {
		v.causes[f] = cause
	}
}

var (
	errLogSmaller = errors.New("gateway: the published checkpoint is smaller than one that was seen")
	errLogForked  = errors.New("gateway: the published checkpoint does not go on from one that was seen; both are in " + ForkFile)
	errLogStale   = errors.New("gateway: the cosignatures of the checkpoint are not of the last ten minutes")
	errNotLogged  = errors.New("gateway: it is not in the log")
)

// keepCheckingLog checks the log until ctx is done. It begins a while after the start, so
// that gateways do not come together.
func (g *Gateway) keepCheckingLog(ctx context.Context) {
	for sleep(ctx, logEvery*3/4+rand.N(logEvery/2)) {
		if err := g.checkLog(ctx); err != nil && ctx.Err() == nil {
			g.log.Error("log not checked", "cause", err)
		}
	}
}

// logged tells whether the manifest names a log.
func logged(m *manifest.Manifest) bool { return m != nil && m.Registry.Log != "" }

// checkLog checks the log once. The error is of the own store; what is wrong with the log
// is in its alarms.
func (g *Gateway) checkLog(ctx context.Context) error {
	g.watch.checking.Lock()
	defer g.watch.checking.Unlock()
	if m, _ := g.roots.known(); !logged(m) {
		return nil
	}
	if err := g.clearFork(); err != nil {
		return err
	}
	v := verdict{map[LogFault]bool{}, map[LogFault]error{}}
	if err := g.judgeLog(ctx, v); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return nil // it was ended, and not the registry's fault
	}
	return g.keepVerdict(v)
}

// judgeLog goes as far as it can.
func (g *Gateway) judgeLog(ctx context.Context, v verdict) error {
	began := time.Now()
	m, d := g.roots.known()
	p, text, err := g.fetchCheckpoint(ctx, m)
	if err != nil {
		v.is(LogFaultUnreachable, true, err)
		return nil
	}
	c, at, err := openCheckpoint(m, text)
	if err != nil && g.roots.refresh(ctx, p, began) == nil {
		m, d = g.roots.known() // the keys may be newer than our manifest
		c, at, err = openCheckpoint(m, text)
	}
	tooFew := errors.Is(err, audit.ErrWitnesses)
	v.is(LogFaultSignature, err != nil && !tooFew, err)
	if err != nil && !tooFew {
		return nil
	}
	v.is(LogFaultWitnesses, tooFew, err)
	if tooFew {
		return nil
	}
	age := g.now().Sub(at)
	stale := age > logPatience || age < -logPatience // or our clocks differ
	v.is(LogFaultStale, stale, errLogStale)
	goesOn, err := g.follow(ctx, p, m, c, text, v)
	if err != nil || !goesOn || stale {
		return err
	}
	return g.judgeLeaves(ctx, p, m, d, c, v)
}

func openCheckpoint(m *manifest.Manifest, text []byte) (audit.Checkpoint, time.Time, error) {
	keys, err := audit.ParseKeys(m.Registry.Log, m.Witnesses(), m.Threshold)
	if err != nil {
		return audit.Checkpoint{}, time.Time{}, err
	}
	return keys.OpenCosigned(text)
}

// fetchCheckpoint asks over the connection of one party, and of another if that fails:
// one party's broken certificate is not the log's.
func (g *Gateway) fetchCheckpoint(ctx context.Context, m *manifest.Manifest) (p *Party, text []byte, err error) {
	for _, i := range rand.Perm(len(g.order)) {
		p = g.order[i]
		if text, err = p.fetchLog(ctx, m, http.MethodGet, "/v1/log/checkpoint", nil, maxCheckpoint); err == nil {
			return p, text, nil
		}
	}
	return nil, nil, err
}

func (p *Party) fetchLog(ctx context.Context, m *manifest.Manifest, method, path string, body any, limit int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, logAnswer)
	defer cancel()
	return p.fetch(ctx, endpoint{m.Registry.URL, m.Registry.TLS}, method, path, body, limit)
}

// follow holds a checkpoint against the highest that was seen, and keeps it when it is
// higher. It tells whether it goes on from there.
func (g *Gateway) follow(ctx context.Context, p *Party, m *manifest.Manifest, c audit.Checkpoint, text []byte, v verdict) (bool, error) {
	g.watch.mu.Lock()
	state := g.watch.state
	g.watch.mu.Unlock()
	seen, err := audit.Unverified(state.Checkpoint) // it was, before it was kept
	if err != nil {
		return true, g.keepCheckpoint(text)
	}
	v.is(LogFaultSmaller, c.Size < seen.Size, errLogSmaller)
	if c.Size < seen.Size {
		return false, nil
	}
	var proof tlog.TreeProof
	if c.Size > seen.Size && seen.Size > 0 {
		var answer api.LogConsistency
		ctx, cancel := context.WithTimeout(ctx, logAnswer)
		defer cancel()
		path := fmt.Sprintf("/v1/log/consistency?from=%d&to=%d", seen.Size, c.Size)
		if err := p.call(ctx, endpoint{m.Registry.URL, m.Registry.TLS}, http.MethodGet, path, nil, &answer, maxCheckpoint); err != nil {
			v.is(LogFaultUnreachable, true, err)
			return false, nil
		}
		proof = hashes(answer.Hashes)
	}
	if !c.Follows(seen, proof) {
		v.is(LogFaultForked, true, errLogForked)
		return false, g.keepFork(state.Checkpoint, text)
	}
	if c.Size == seen.Size {
		return true, nil
	}
	return true, g.keepCheckpoint(text)
}

func hashes(list []api.Hash) []tlog.Hash {
	proof := make([]tlog.Hash, len(list))
	for i, h := range list {
		proof[i] = tlog.Hash(h)
	}
	return proof
}

// judgeLeaves has it proven that a checkpoint holds what it has to hold.
func (g *Gateway) judgeLeaves(ctx context.Context, p *Party, m *manifest.Manifest, d *manifest.Directory, c audit.Checkpoint, v verdict) error {
	notes := []api.Hash{audit.Published(audit.Manifest, m.Hash()).Hash()}
	if d != nil {
		notes = append(notes, audit.Published(audit.Directory, d.Hash()).Hash())
	}
	held, err := p.proven(ctx, m, c, notes)
	if err != nil {
		v.is(LogFaultUnreachable, true, err)
		return nil
	}
	v.is(LogFaultManifest, !held[notes[0]], errNotLogged)
	if d != nil {
		v.is(LogFaultDirectory, !held[notes[1]], errNotLogged)
	}
	unproven, overdue := 0, 0
	for _, p := range g.order {
		left, late, unreachable, err := p.proveLeaves(ctx, m, c)
		if err != nil {
			return err
		}
		if unreachable != nil {
			v.is(LogFaultUnreachable, true, unreachable)
		}
		unproven, overdue = unproven+left, overdue+late
	}
	v.is(LogFaultReceipt, overdue > 0, errNotLogged)
	if !v.found[LogFaultUnreachable] {
		v.is(LogFaultUnreachable, false, nil)
	}
	g.watch.mu.Lock()
	g.watch.unproven = unproven
	g.watch.mu.Unlock()
	return nil
}

// proven tells which of at most api.MaxLogQuery leaves the registry proves to be in the
// log of a checkpoint.
func (p *Party) proven(ctx context.Context, m *manifest.Manifest, c audit.Checkpoint, leaves []api.Hash) (map[api.Hash]bool, error) {
	held := map[api.Hash]bool{}
	if c.Size == 0 {
		return held, nil
	}
	ctx, cancel := context.WithTimeout(ctx, logAnswer)
	defer cancel()
	var answer api.LogProofs
	query := api.LogQuery{Size: c.Size, Leaves: leaves}
	if err := p.call(ctx, endpoint{m.Registry.URL, m.Registry.TLS}, http.MethodPost, "/v1/log/proofs", query, &answer, maxLogProofs); err != nil {
		return nil, err
	}
	for _, item := range answer.Items {
		if c.Holds(item.Leaf, item.Number, hashes(item.Hashes)) {
			held[item.Leaf] = true
		}
	}
	return held, nil
}

// keepCheckpoint makes a checkpoint the highest that was seen.
func (g *Gateway) keepCheckpoint(text []byte) error {
	return g.changeLog(func(state *logState) bool {
		state.Checkpoint = text
		return true
	})
}

// changeLog changes the row of the log.
func (g *Gateway) changeLog(change func(*logState) bool) error {
	g.watch.mu.Lock()
	defer g.watch.mu.Unlock()
	next := logState{Checkpoint: g.watch.state.Checkpoint, Faults: map[LogFault]time.Time{}}
	for f, since := range g.watch.state.Faults {
		next.Faults[f] = since
	}
	if !change(&next) {
		return nil
	}
	b := g.store.batch()
	defer b.close()
	b.put(keyCheckpoint(), next)
	if err := b.commit(); err != nil {
		return err
	}
	g.watch.state = next
	return nil
}

// keepFork keeps the proof that two trees were signed. One is enough.
func (g *Gateway) keepFork(seen, other []byte) error {
	path := g.forkPath()
	if _, err := g.fs.Stat(path); err == nil {
		return nil
	}
	return disk.Replace(g.fs, path, fmt.Appendf(nil, "%s\n%s", seen, other))
}

func (g *Gateway) forkPath() string { return filepath.Join(g.config.Data, ForkFile) }

// clearFork ends a fork that somebody has seen to. Which of the two trees is the right one
// is not known here: the next checkpoint that enough witnesses have cosigned is.
func (g *Gateway) clearFork() error {
	_, err := g.fs.Stat(g.forkPath())
	if err == nil {
		return nil
	}
	cleared := false
	err = g.changeLog(func(state *logState) bool {
		if _, cleared = state.Faults[LogFaultForked]; cleared {
			delete(state.Faults, LogFaultForked)
			state.Checkpoint = nil
		}
		return cleared
	})
	if err == nil && cleared {
		g.log.Warn("log fork cleared")
	}
	return err
}

// keepVerdict takes a check's verdict up, and tells of alarms that begin and end. What was
// not looked for stays as it was; a fork stays until it is cleared.
func (g *Gateway) keepVerdict(v verdict) error {
	now := g.now().UTC()
	err := g.changeLog(func(state *logState) (changed bool) {
		for f, bad := range v.found {
			_, was := state.Faults[f]
			switch {
			case bad && !was:
				state.Faults[f], changed = now, true
			case !bad && was: // a fork is not looked for again
				delete(state.Faults, f)
				changed = true
			}
		}
		return changed
	})
	if err != nil {
		return err
	}
	alarms := g.LogAlarms()
	g.watch.mu.Lock()
	defer g.watch.mu.Unlock()
	for f, cause := range v.causes {
		g.watch.causes[f] = cause
	}
	for _, f := range LogFaults {
		is := slices.ContainsFunc(alarms, func(a LogAlarm) bool { return a.Fault == f })
		switch {
		case is && !g.watch.told[f]:
			g.log.Error("log alarm", "reason", string(f), "cause", g.watch.causes[f])
		case !is && g.watch.told[f]:
			g.log.Info("log alarm ended", "reason", string(f))
		}
		g.watch.told[f] = is
	}
	return nil
}

// LogAlarms are what is wrong with the registry's log now; nil where there is none.
func (g *Gateway) LogAlarms() (list []LogAlarm) {
	if m, _ := g.roots.known(); !logged(m) {
		return nil
	}
	now := g.now()
	g.watch.mu.Lock()
	defer g.watch.mu.Unlock()
	for _, f := range LogFaults {
		if since, is := g.watch.state.Faults[f]; is && (!f.waits() || now.Sub(since) >= logPatience) {
			list = append(list, LogAlarm{f, since})
		}
	}
	return list
}

// loadLog takes up what the store kept.
func (g *Gateway) loadLog() error {
	g.watch.causes, g.watch.told = map[LogFault]error{}, map[LogFault]bool{}
	state, err := get[logState](g.store.view, keyCheckpoint())
	if errors.Is(err, errAbsent) {
		return nil
	}
	g.watch.state = state
	return err
}

// logCollector measures the log as this gateway sees it.
type logCollector struct{ g *Gateway }

var (
	logAlarm = prometheus.NewDesc("seinhuis_gateway_log_alarm",
		"1 for what is wrong with the registry's log, by reason, else 0.", []string{"reason"}, nil)
	logUnproven = prometheus.NewDesc("seinhuis_gateway_log_unproven_leaves",
		"Leaves of receipts that the last check of the registry's log left to be proven.", nil, nil)
)

// Describe implements prometheus.Collector.
func (logCollector) Describe(ch chan<- *prometheus.Desc) { ch <- logAlarm; ch <- logUnproven }

// Collect implements prometheus.Collector.
func (l logCollector) Collect(ch chan<- prometheus.Metric) {
	alarms := l.g.LogAlarms()
	for _, f := range LogFaults {
		value := 0.0
		if slices.ContainsFunc(alarms, func(a LogAlarm) bool { return a.Fault == f }) {
			value = 1
		}
		ch <- prometheus.MustNewConstMetric(logAlarm, prometheus.GaugeValue, value, string(f))
	}
	l.g.watch.mu.Lock()
	unproven := l.g.watch.unproven
	l.g.watch.mu.Unlock()
	ch <- prometheus.MustNewConstMetric(logUnproven, prometheus.GaugeValue, float64(unproven))
}
