// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/audit"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/registry"
)

// logCommand proves the log, shows records of it, or erases some.
func logCommand(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	what := ""
	if len(args) > 0 {
		what, args = args[0], args[1:]
	}
	flags := program.Flags("log "+what, stderr)
	path := flags.String("config", "", "")
	var asked any
	var optional []string
	switch what {
	case "verify":
		asked, optional = verifyFlags(flags)
	case "show":
		asked, optional = showFlags(flags)
	case "erase":
		asked = eraseFlags(flags)
	default:
		return errors.New("registry log needs verify, show or erase; registry -h shows how")
	}
	if err := program.Parse(flags, args, optional...); err != nil {
		return err
	}
	c, err := readConfig(*path)
	if err != nil {
		return err
	}
	if c, ok := asked.(interface{ check() error }); ok {
		if err := c.check(); err != nil {
			return err
		}
	}
	return c.do(ctx, "log/"+what, asked, stdout, stderr)
}

// verifyAsked are checkpoints that the log must go on from, beside its own last one.
type verifyAsked struct {
	Checkpoints [][]byte `json:"checkpoints,omitempty"`
}

func verifyFlags(flags *flag.FlagSet) (*verifyAsked, []string) {
	asked := new(verifyAsked)
	flags.Func("checkpoint", "", func(path string) error {
		signed, err := os.ReadFile(path)
		asked.Checkpoints = append(asked.Checkpoints, signed)
		return err
	})
	return asked, []string{"checkpoint"}
}

// A verified log is what verify prints.
type verified struct {
	Size       int64    `json:"size"`
	Erased     int64    `json:"erased"` // of them: records that are no more, their hashes are
	Root       api.Hash `json:"root"`
	Checkpoint int64    `json:"checkpoint"` // size of the last one
	Cosigned   string   `json:"cosigned"`   // when enough witnesses had
	Others     int      `json:"others"`     // checkpoints that it goes on from
}

func verifyTask(ctx context.Context, h house, text []byte, out io.Writer) error {
	var asked verifyAsked
	if err := encoding.UnmarshalJSON(text, &asked); err != nil {
		return err
	}
	man, _ := h.trust.Current()
	keys, err := audit.ParseKeys(man.Registry.Log, man.Witnesses(), man.Threshold)
	if err != nil {
		return err
	}
	state, err := registry.VerifyLog(ctx, h.m.Store)
	if err != nil {
		return err
	}
	done := verified{Size: state.Size, Erased: state.Erased, Root: api.Hash(state.Root)}
	last, signed, err := h.kept.Checkpoint()
	if err != nil {
		return err
	}
	if signed != nil {
		_, at, err := keys.OpenCosigned(signed)
		if err := errors.Join(err, registry.Holds(ctx, h.m.Store, last)); err != nil {
			return fmt.Errorf("the last checkpoint: %w", err)
		}
		done.Checkpoint, done.Cosigned = last.Size, at.Format(time.RFC3339)
	}
	for i, signed := range asked.Checkpoints {
		c, err := keys.Open(signed)
		if err == nil {
			err = registry.Holds(ctx, h.m.Store, c)
		}
		if err != nil {
			return fmt.Errorf("checkpoint %d: %w", i+1, err)
		}
		done.Others++
	}
	return json.NewEncoder(out).Encode(done)
}

// A reader of the log is in the log: under what pseudonym, and why.
type reader struct {
	As      string `json:"as"`
	Purpose string `json:"purpose"`
}

var (
	pseudonym = regexp.MustCompile(`^[a-z][a-z0-9._-]{0,31}$`)

	errReader = errors.New("-as is a pseudonym of whoever looks, of a-z, 0-9, dots and dashes; -purpose says why, in at most 200 characters: both are in the log")
)

func (r *reader) flags(flags *flag.FlagSet) {
	flags.StringVar(&r.As, "as", "", "")
	flags.StringVar(&r.Purpose, "purpose", "", "")
}

func (r *reader) check() error {
	if !pseudonym.MatchString(r.As) || r.Purpose == "" || len(r.Purpose) > 200 {
		return errReader
	}
	return nil
}

// enter puts what the reader does in the log, before it is done.
func (r *reader) enter(ctx context.Context, h house, event string, action audit.Action, filter registry.LogFilter) error {
	leaf, err := audit.NewLeaf(audit.Record{
		Event: event, Action: action, Outcome: audit.Success, Time: h.m.Now().UTC().Truncate(time.Millisecond),
		User: r.As, Role: "operator", Purpose: r.Purpose, ObjectType: "log", ObjectID: filter.String(), System: "registry",
	})
	if err != nil {
		return err
	}
	return h.m.Store.Enter(ctx, leaf)
}

type showAsked struct {
	reader
	Filter registry.LogFilter `json:"filter"`
}

func showFlags(flags *flag.FlagSet) (*showAsked, []string) {
	asked := new(showAsked)
	asked.flags(flags)
	f := &asked.Filter
	flags.StringVar((*string)(&f.Party), "party", "", "")
	flags.StringVar(&f.User, "user", "", "")
	flags.StringVar(&f.Signal, "signal", "", "")
	flags.Func("from", "", at(&f.From))
	flags.Func("to", "", at(&f.To))
	return asked, []string{"party", "user", "signal", "from", "to"}
}

// at reads a day, which begins in Amsterdam, or an instant.
func at(t *time.Time) func(string) error {
	return func(s string) (err error) {
		if day, err := encoding.ParseDate(s); err == nil {
			*t = day.In(encoding.Amsterdam)
			return nil
		}
		if *t, err = time.Parse(time.RFC3339, s); err != nil {
			return errors.New("a day as 2026-11-23, or a time as 2026-11-23T12:00:00Z")
		}
		return nil
	}
}

// A shown record is a line of show: fields of NEN 7513, and its number in the log, -1 of
// what waits for it.
type shown struct {
	Number     int64         `json:"number"`
	Time       time.Time     `json:"time"`
	Event      string        `json:"event"`
	Action     audit.Action  `json:"action"`
	Outcome    audit.Outcome `json:"outcome"`
	Party      string        `json:"party,omitempty"`
	User       string        `json:"user,omitempty"`
	Role       string        `json:"role,omitempty"`
	OnBehalfOf string        `json:"onBehalfOf,omitempty"`
	Purpose    string        `json:"purpose,omitempty"`
	Access     string        `json:"access,omitempty"`
	ObjectType string        `json:"objectType,omitempty"`
	ObjectID   string        `json:"objectId,omitempty"`
	System     string        `json:"system"`
	TraceID    string        `json:"traceId,omitempty"`
}

func showTask(ctx context.Context, h house, text []byte, out io.Writer) error {
	var asked showAsked
	if err := errors.Join(encoding.UnmarshalJSON(text, &asked), asked.check()); err != nil {
		return err
	}
	if err := asked.enter(ctx, h, "log.read", audit.Read, asked.Filter); err != nil {
		return err
	}
	lines := json.NewEncoder(out)
	n := 0
	err := registry.ShowLog(ctx, h.m.Store, asked.Filter, func(number int64, r audit.Record) error {
		n++
		return lines.Encode(shown{
			number, r.Time, r.Event, r.Action, r.Outcome, r.Party, r.User, r.Role, r.OnBehalfOf, r.Purpose, r.Access,
			r.ObjectType, r.ObjectID, r.System, r.TraceID,
		})
	})
	return errors.Join(err, lines.Encode(struct {
		Shown int `json:"shown"`
	}{n}))
}

type eraseAsked struct {
	reader
	Party  api.PartyID `json:"party"`
	Signal string      `json:"signal"`
}

func eraseFlags(flags *flag.FlagSet) *eraseAsked {
	asked := new(eraseAsked)
	asked.flags(flags)
	flags.StringVar((*string)(&asked.Party), "party", "", "")
	flags.StringVar(&asked.Signal, "signal", "", "")
	return asked
}

// eraseTask erases the records of one signal. That it was done is in the log, which
// signal is not.
func eraseTask(ctx context.Context, h house, text []byte, out io.Writer) error {
	var asked eraseAsked
	if err := errors.Join(encoding.UnmarshalJSON(text, &asked), asked.check()); err != nil {
		return err
	}
	if asked.Party == "" || asked.Signal == "" {
		return errors.New("-party and -signal say whose records are erased")
	}
	if err := asked.enter(ctx, h, "log.erase", audit.Delete, registry.LogFilter{Party: asked.Party}); err != nil {
		return err
	}
	var numbers []int64
	waiting := 0
	filter := registry.LogFilter{Party: asked.Party, Signal: asked.Signal}
	err := registry.ShowLog(ctx, h.m.Store, filter, func(number int64, _ audit.Record) error {
		if number == registry.Waits {
			waiting++
		} else {
			numbers = append(numbers, number)
		}
		return nil
	})
	if err == nil && len(numbers) > 0 {
		err = h.m.Store.Erase(ctx, numbers)
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(struct {
		Erased  int `json:"erased"`
		Waiting int `json:"waiting"` // for their numbers, without which they cannot be erased: ask again
	}{len(numbers), waiting})
}
