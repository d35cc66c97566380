// SPDX-License-Identifier: EUPL-1.2

// Command demo runs a whole Seinhuis on one machine, from the real programs, for
// trying it by hand or for a scripted population that is judged. See `demo -h`.
//
//	parties, ceremony, process, network   who there is, their keys, their processes
//	population, plan                      who is signalled, by whom, in which order
//	expect                                what must come of that, worked out in the clear
//	play, inbox                           the same through the gateways' HTTP API
//	judge, once, out                      what came of it beside what should have
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/seinhuis/seinhuis/crypto/identity"
)

const usage = `demo: a whole Seinhuis on this machine, from the programs beside it

  demo
      Makes keys for three evaluators (2 of 3), a registry and eight parties behind
      seven gateways, starts them all, and prints how to signal a child. Ctrl-C
      ends it and removes everything.
  demo -once [-children 500] [-seed 7] [-out FOLDER]
      Plays a scripted population through the gateways' HTTP API instead, and exits
      with 0 only if nothing was missed, nothing false was told and every opened
      card is the one that was sealed. Halfway the registry and an evaluator are
      killed with -9 and started again.

  -children N   ordinary children (1 to 12000), each known to 1 to 4 parties; beside
                them there are two closing children, who show that the inboxes are
                complete
  -seed N       the same seed and day give the same children and acts
  -out FOLDER   writes the population in the clear, what each party submitted and
                each inbox with opened cards; a README.md there explains the fields
  -bin FOLDER   where evaluator, registry, gateway and governance are; this
                program's own folder if left out
  -dir FOLDER   for all state; it stays. A temporary one if left out
  -patience D   how long anything may take before it counts as failed (2m)

The last line of a scripted run is one JSON object:
  children, closingChildren  in the population
  signals, expectedSignals   that stood at the registry, one per party and child as
                             long as it lasted
  matches, expectedMatches   networks around a child of two or more parties
  events, expectedEvents     in all inboxes: joined, left, ended, card
  missed, false              events not there, and events that nothing leads to
  reports                    of Veilig Thuis, each sent in twice
  refusedAdults              persons refused because they are 23 or older
  withoutNumber              persons in reports listed as not signalled
  duplicatesAbsorbed         registrations of a child that the party signalled already
  withdrawals, renewals      acts
  cardsOpened, cardsWrong    opened, and of events whose card is missing or not the
                             one that was sealed (each field is compared)
  hitByKill, downMs          signals under way while the registry was down, and how
                             long that was, both counted until it served again
  p50Ms, p99Ms               from sending POST /v1/signalen to the answer that its
                             receipt is verified; of all signals but hitByKill
  seconds, ok                of the population; and whether the exit status is 0
`

const banner = `
  ****************************************************************************
  *  THIS IS A DEMONSTRATION. All keys lie on one machine, so it is not       *
  *  blind to whoever runs it. Never enter a real child.                      *
  ****************************************************************************
`

type options struct {
	bin, dir string
	once     bool
	children int
	seed     uint64
	out      string
	patience time.Duration
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C does not wait
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func parseOptions(args []string, stdout io.Writer) (o options, help bool, err error) {
	fs := flag.NewFlagSet("demo", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&o.bin, "bin", "", "")
	fs.StringVar(&o.dir, "dir", "", "")
	fs.BoolVar(&o.once, "once", false, "")
	fs.IntVar(&o.children, "children", 500, "")
	fs.Uint64Var(&o.seed, "seed", 7, "")
	fs.StringVar(&o.out, "out", "", "")
	fs.DurationVar(&o.patience, "patience", 2*time.Minute, "")
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, usage)
		return o, true, nil
	case err != nil:
		return o, false, fmt.Errorf("%w; demo -h lists the flags", err)
	case fs.NArg() > 0:
		return o, false, errors.New("there are flags only; demo -h lists them")
	case o.children < 1 || o.children > maxChildren:
		return o, false, fmt.Errorf("-children is from 1 to %d", maxChildren)
	}
	if o.bin == "" {
		self, err := os.Executable()
		if err != nil {
			return o, false, err
		}
		o.bin = filepath.Dir(self)
	}
	return o, false, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	o, help, err := parseOptions(args, stdout)
	if err != nil || help {
		return err
	}
	root, remove, err := openFolder(o.dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()

	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	n := &Network{bin: o.bin, root: root, fatal: fail}
	today := identity.Today(time.Now())
	fmt.Fprint(stderr, banner)
	fmt.Fprintln(stderr, "demo: making keys and starting processes in", root)
	err = n.setUp(ctx, today)
	if err == nil {
		err = n.startAll(ctx)
	}
	switch {
	case err != nil:
	case o.once:
		err = runOnce(ctx, n, newPlan(o.children, o.seed, today), o, stdout, stderr)
	default:
		if err = n.describe(stdout, today); err == nil {
			<-ctx.Done()
			err = context.Cause(ctx)
			fmt.Fprintln(stderr, "demo: stopping")
		}
	}
	if !o.once && errors.Is(err, context.Canceled) {
		err = nil // Ctrl-C is how it ends
	}
	return errors.Join(err, n.stopAll())
}
