// SPDX-License-Identifier: EUPL-1.2

// Package sequencer keeps the registry's log: it gives the leaves that wait their numbers,
// signs what the tree is then, and has the evaluators witness it.
//
//	outbox ─▶ numbers, tiles, journal ─▶ signed checkpoint ─▶ cosigned by t witnesses ─▶ published
//
// Any two checkpoints that were ever signed are of one history. So what is signed is on
// disk before, in the store and in the journal, which a restore goes on from; and a
// process that begins signs nothing until it has held its log against the last
// checkpoint that it kept, and against those of so many witnesses that one of them has
// cosigned whatever was published.
package sequencer

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sync/errgroup"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/api/witness"
	"github.com/seinhuis/seinhuis/audit"
	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/registry"
)

var (
	// ErrNoLog says that the manifest names no log.
	ErrNoLog = errors.New("sequencer: the manifest names no log; give governance what keygen printed")
	// ErrUnproven says that too few witnesses tell what they have cosigned.
	ErrUnproven = errors.New("sequencer: too few witnesses answer to know that the log goes on from what they have cosigned")
	// ErrSize says that a checkpoint of that size was not published.
	ErrSize = errors.New("sequencer: no checkpoint of that size was published")
)

const (
	// atOnce is how many leaves get their numbers in one commit.
	atOnce = 10_000
	// fresh is how long after it a checkpoint is signed anew where nothing was logged, so
	// that who sees an old one knows that something is wrong.
	fresh = time.Minute
)

// A Witness is an evaluator that is asked to cosign; see api/witness.
type Witness interface {
	Add(context.Context, audit.Add) (line []byte, err error)
	Latest(context.Context) (cosigned []byte, err error)
}

// A Sequencer keeps the log of one store. Step is called by one goroutine at a time; the
// rest may be called by any.
type Sequencer struct {
	Store   registry.Store
	Key     note.Signer
	Trust   func() (*manifest.Manifest, *manifest.Directory)
	Witness func(manifest.Evaluator) (Witness, error)
	Journal interface { // nil for none, but then nothing tells a store from its past
		KeepCheckpoint(signed []byte) error
		Checkpoint() (c audit.Checkpoint, signed []byte, err error)
	}
	Now func() time.Time

	proven bool
	sizes  map[string]int64 // that witnesses have cosigned, by their keys
	// What has been entered: to hash a directory takes long.
	manifest  *manifest.Manifest
	directory *manifest.Directory

	mu        sync.Mutex
	published []byte
	size      int64     // of what is published
	when      time.Time // it was
	fault     error     // that Step ended with last
}

// A State is how the log does.
type State struct {
	Size  int64     // of the last published checkpoint
	At    time.Time // of its publishing; zero if none was
	Fault error     // what keeps the next from being published; nil if nothing does
}

// State tells how the log does.
func (s *Sequencer) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return State{s.size, s.when, s.fault}
}

// Published is the last checkpoint that enough witnesses have cosigned; nil before there
// is one.
func (s *Sequencer) Published() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.published
}

// Step does what is due: it logs the manifest and directory in force, sequences what
// waits, and publishes a checkpoint. After an error it can be called again.
func (s *Sequencer) Step(ctx context.Context) error {
	err := s.step(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = err
	return err
}

func (s *Sequencer) step(ctx context.Context) error {
	man, dir := s.Trust()
	if man.Registry.Log == "" {
		return ErrNoLog
	}
	keys, err := audit.ParseKeys(man.Registry.Log, man.Witnesses(), man.Threshold)
	if err != nil {
		return err
	}
	if !s.proven {
		if err := s.prove(ctx, man, keys); err != nil {
			return err
		}
		s.proven = true
	}
	if man != s.manifest || dir != s.directory {
		err := s.Store.Enter(ctx, audit.Published(audit.Manifest, man.Hash()), audit.Published(audit.Directory, dir.Hash()))
		if err != nil {
			return err
		}
		s.manifest, s.directory = man, dir
	}
	for n := atOnce; n == atOnce; {
		if n, err = s.Store.Sequence(ctx, atOnce); err != nil {
			return err
		}
	}
	return s.publish(ctx, man, keys)
}

// prove holds the log against what was signed before this process began.
func (s *Sequencer) prove(ctx context.Context, man *manifest.Manifest, keys audit.Keys) error {
	if s.Journal != nil {
		kept, signed, err := s.Journal.Checkpoint()
		if err != nil {
			return err
		}
		if signed != nil && kept.Origin == keys.Origin() {
			if err := registry.Holds(ctx, s.Store, kept); err != nil {
				return err
			}
		}
	}
	var mu sync.Mutex
	var answered int
	sizes := make(map[string]int64)
	err := s.each(ctx, man, func(ctx context.Context, e manifest.Evaluator, w Witness) error {
		cosigned, err := w.Latest(ctx)
		none := errors.Is(err, witness.ErrNone)
		if err != nil && !none {
			return nil
		}
		var c audit.Checkpoint
		if !none {
			if c, err = keys.Open(cosigned); err != nil {
				return nil // of another log, of before the manifest named this one
			}
			if err := registry.Holds(ctx, s.Store, c); err != nil {
				return err
			}
		}
		mu.Lock()
		defer mu.Unlock()
		answered++
		sizes[e.Witness] = c.Size
		return nil
	})
	if err != nil {
		return err
	}
	// Of so many, one has cosigned whatever threshold of them have.
	if answered < len(man.Witnesses())-man.Threshold+1 {
		return ErrUnproven
	}
	s.sizes = sizes
	return nil
}

// each asks all witnesses, side by side.
func (s *Sequencer) each(ctx context.Context, man *manifest.Manifest, ask func(context.Context, manifest.Evaluator, Witness) error) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, e := range man.Evaluators {
		if e.Witness == "" {
			continue
		}
		w, err := s.Witness(e)
		if err != nil {
			return errors.Join(err, g.Wait())
		}
		g.Go(func() error { return ask(ctx, e, w) })
	}
	return g.Wait()
}

// publish signs what the log is now, if that is due, and has it cosigned.
func (s *Sequencer) publish(ctx context.Context, man *manifest.Manifest, keys audit.Keys) error {
	size, err := s.Store.Logged(ctx)
	if err != nil {
		return err
	}
	if last := s.State(); size == last.Size && size > 0 && s.Now().Sub(last.At) < fresh {
		return nil
	}
	c := audit.Checkpoint{Origin: keys.Origin(), Size: size}
	if c.Root, err = registry.Root(ctx, s.Store, size); err != nil {
		return err
	}
	signed, err := c.Sign(s.Key)
	if err != nil {
		return err
	}
	if err := s.keep(signed); err != nil {
		return err
	}
	cosigned, err := s.cosign(ctx, man, keys, c.Size, signed)
	if err != nil {
		s.proven = false // somebody has cosigned what is not here
		return err
	}
	if _, _, err := keys.OpenCosigned(cosigned); err != nil {
		return err
	}
	if err := s.keep(cosigned); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.published, s.size, s.when = cosigned, size, s.Now()
	return nil
}

func (s *Sequencer) keep(signed []byte) error {
	if s.Journal == nil {
		return nil
	}
	return s.Journal.KeepCheckpoint(signed)
}

// cosign gives the checkpoint of a size with the lines of all witnesses that answer.
func (s *Sequencer) cosign(ctx context.Context, man *manifest.Manifest, keys audit.Keys, size int64, signed []byte) ([]byte, error) {
	var mu sync.Mutex
	cosigned := bytes.Clone(signed)
	err := s.each(ctx, man, func(ctx context.Context, e manifest.Evaluator, w Witness) error {
		mu.Lock()
		old := s.sizes[e.Witness]
		mu.Unlock()
		line, err := s.ask(ctx, w, old, size, signed)
		other, differs := errors.AsType[*witness.SizeError](err)
		if differs && other.Size != old && other.Size <= size {
			line, err = s.ask(ctx, w, other.Size, size, signed)
			_, differs = errors.AsType[*witness.SizeError](err)
		}
		refused, ok := errors.AsType[*witness.StatusError](err)
		if differs || ok && refused.Status == http.StatusUnprocessableEntity {
			return s.shown(ctx, keys, w)
		}
		if err != nil {
			return nil // the others are enough, or too few
		}
		mu.Lock()
		defer mu.Unlock()
		s.sizes[e.Witness] = size
		cosigned = append(cosigned, line...)
		return nil
	})
	return cosigned, err
}

// shown is the error where a witness shows that it has cosigned what the log has signed, and
// is not here. By its word alone any evaluator could stop the log.
func (s *Sequencer) shown(ctx context.Context, keys audit.Keys, w Witness) error {
	cosigned, err := w.Latest(ctx)
	if err != nil {
		return nil
	}
	c, err := keys.Open(cosigned)
	if err != nil {
		return nil
	}
	return registry.Holds(ctx, s.Store, c)
}

// ask asks a witness that has cosigned the old size to cosign the checkpoint of another.
func (s *Sequencer) ask(ctx context.Context, w Witness, old, size int64, signed []byte) ([]byte, error) {
	add := audit.Add{Old: old, Checkpoint: signed}
	if old > 0 && old < size {
		var err error
		if add.Proof, err = s.Consistency(ctx, old, size); err != nil {
			return nil, err
		}
	}
	return w.Add(ctx, add)
}

// Consistency proves that the log of one size goes on from that of another, from 1 on.
func (s *Sequencer) Consistency(ctx context.Context, from, to int64) (tlog.TreeProof, error) {
	size, err := s.Store.Logged(ctx)
	if err != nil {
		return nil, err
	}
	if from < 1 || from > to || to > size {
		return nil, ErrSize
	}
	if from == to {
		return nil, nil
	}
	return tlog.ProveTree(to, from, registry.Tiles(ctx, s.Store))
}

// An Inclusion is a leaf's number, and the proof that it has it.
type Inclusion struct {
	Number int64
	Proof  tlog.RecordProof
}

// Inclusion proves where a leaf is in the log of a size; false where it is not in that.
func (s *Sequencer) Inclusion(ctx context.Context, size int64, leaf api.Hash) (in Inclusion, ok bool, err error) {
	logged, err := s.Store.Logged(ctx)
	if err != nil {
		return in, false, err
	}
	if size < 1 || size > logged {
		return in, false, ErrSize
	}
	if in.Number, ok, err = s.Store.Number(ctx, leaf); !ok || err != nil || in.Number >= size {
		return Inclusion{}, false, err
	}
	in.Proof, err = tlog.ProveRecord(size, in.Number, registry.Tiles(ctx, s.Store))
	return in, err == nil, err
}
