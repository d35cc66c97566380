// SPDX-License-Identifier: EUPL-1.2

package bench

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/crypto/oprf"
	"github.com/seinhuis/seinhuis/crypto/seal"
	"github.com/seinhuis/seinhuis/crypto/token"
	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
	"github.com/seinhuis/seinhuis/keys"
	"github.com/seinhuis/seinhuis/manifest/manifesttest"
	"github.com/seinhuis/seinhuis/registry/pebblestore"
)

func benchGateway(r *run) {
	benchFinalise(r)
	benchSignal(r)
}

// benchSignal counts the CPU time of a gateway for one signal at a time: accepted,
// evaluated by 2 of 3, prepared, sent, receipted; each stage on disk. Evaluators and
// registry are real, on disk, behind TLS, in another process, so what they spend is
// not counted.
//
// Beside it stands the CPU time of the cryptography that no gateway can leave out:
// blind, verify two proofs, combine, derive, seal card and keybox, two signatures,
// verify the receipt. TLS and the sealing of the gateway's own rows are not in it.
func benchSignal(r *run) {
	config := serveWorld(r)
	config.Data = filepath.Join(r.TempDir(), "gateway")
	g, err := gateway.Open(config, gateway.Options{Now: func() time.Time { return manifesttest.Now }})
	r.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	defer func() {
		cancel()
		r.must(<-ended)
		r.must(g.Close())
	}()
	party, _ := g.Party(gatewaytest.Party(0))
	card := gateway.Card{
		Name: "Noor de Vries", Role: "intern begeleider", Desk: "Zorgteam De Regenboog", Phone: "+31 30 555 01 23",
		Email: "zorgteam@regenboog.example", Reachable: "ma-do 8.30-17.00",
	}
	child := 0
	var taken []gateway.ID
	signal := func() {
		child++
		st, err := party.Signal(
			gateway.Subject{Kind: "bsn", Number: bsn(child), BirthDate: "2012-05-06"},
			gateway.Terms{Owner: "n.devries", Reference: fmt.Sprintf("dossier Z-%06d", child), Card: card})
		r.must(err)
		r.must(party.Wait(ctx, st.ID))
		taken = append(taken, st.ID)
	}
	for range r.signals/10 + 1 { // connections are made
		signal()
	}
	work := newUnavoidable(r, config, seal.Card(card))
	name := "gateway: one signal, 2 of 3 evaluators"
	o, p := r.alternate(name, func(int) float64 {
		return micros(r.signals, func() {
			for range r.signals {
				signal()
			}
		})
	}, func(int) float64 { return work.measure(r, r.signals) })
	for _, id := range taken {
		st, err := party.Registration(id)
		r.must(err)
		if !st.State.Stands() {
			r.Fatalf("a signal does not stand: %s", st.Words())
		}
	}
	r.row(Row{Work: name, Peer: "its own cryptography", Unit: "µs CPU/signal", Aim: atMost(1.5),
		Read: "ef63574a3d49",
		Why:  "nine twentieths of the profile are that cryptography, and it grows no more with every signal; a fifth goes to three HTTPS requests, a ninth to three commits that wait for the disk, a twelfth to rows and messages as JSON, the rest to the scheduler, memory and the sealing of rows; with one signal at a time nothing is shared: in a queue of thousands, where 64 are evaluated and more are sent and stored together, the cryptography is three fifths"}, o, p)
}

// micros is the CPU time of this process for one of n, in microseconds.
func micros(n int, do func()) float64 {
	before := cpuTime()
	do()
	return float64((cpuTime() - before).Microseconds()) / float64(n)
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // it is asked of ourselves
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// bsn makes a number of its own for each i that passes the 11-test, in which the
// last digit has weight -1 and the one before it 2.
func bsn(i int) string {
	for n := 10_000_000 + 2*i; ; n++ { // of two that follow each other one passes at least
		sum := 0
		for weight, rest := 2, n; weight <= 9; weight, rest = weight+1, rest/10 {
			sum += weight * (rest % 10)
		}
		if sum%11 < 10 {
			return fmt.Sprintf("%d%d", n, sum%11)
		}
	}
}

// An unavoidable is the cryptography of a signal, by the product's own packages.
type unavoidable struct {
	commitments oprf.Commitments
	evaluators  []*oprf.Evaluator
	sign        ed25519.PrivateKey
	keyID       encoding.KeyID
	hpke        []byte
	card        seal.Card
}

func newUnavoidable(r *run, c gateway.Config, card seal.Card) *unavoidable {
	u := &unavoidable{card: card}
	var shares []oprf.Share
	var err error
	u.commitments, shares, err = oprf.Deal(gatewaytest.Threshold, gatewaytest.Evaluators)
	r.must(err)
	for _, s := range shares[:gatewaytest.Threshold] {
		e, err := oprf.NewEvaluator(s)
		r.must(err)
		u.evaluators = append(u.evaluators, e)
	}
	u.sign, err = keys.Clear.ReadSigning(filepath.Join(c.Parties[0].Keys, gateway.FileSign))
	r.must(err)
	u.keyID = encoding.KeyIDOf(u.sign.Public().(ed25519.PublicKey))
	hpke, err := keys.Clear.ReadHPKE(filepath.Join(c.Parties[0].Keys, gateway.FileHPKE))
	r.must(err)
	u.hpke = hpke.PublicKey().Bytes()
	return u
}

// measure gives CPU microseconds a signal. The evaluators' answers are made outside
// of what is counted.
func (u *unavoidable) measure(r *run, n int) float64 {
	of := inputs(n)
	blindings := make([]*oprf.Blinding, n)
	blind := micros(n, func() {
		for i := range blindings {
			var err error
			blindings[i], err = oprf.Blind(of[i : i+1])
			r.must(err)
		}
	})
	answers := make([][]answer, n)
	for i, b := range blindings {
		for _, e := range u.evaluators {
			elements, proof, err := e.Evaluate(b.Elements())
			r.must(err)
			answers[i] = append(answers[i], answer{elements, proof})
		}
	}
	receipt := api.Sign(u.sign, make([]byte, 250))
	public := u.sign.Public().(ed25519.PublicKey)
	statement := make([]byte, 330)
	return blind + micros(n, func() {
		for i, b := range blindings {
			var partials []oprf.Partial
			for at, a := range answers[i] {
				p, err := b.Verify(u.commitments, u.evaluators[at].Index(), a.Elements, a.Proof)
				r.must(err)
				partials = append(partials, p)
			}
			outputs, err := b.Combine(gatewaytest.Threshold, partials)
			r.must(err)
			t, err := token.Derive(outputs[0], "test", 1)
			r.must(err)
			context := seal.Context{Dep: "test", Party: string(gatewaytest.Party(0)), SID: api.NewSID(), Rev: 1, Epoch: 1}
			_, err = seal.SealCard(t, context, u.card, u.keyID, u.sign)
			r.must(err)
			_, err = seal.SealKeybox(u.hpke, context, seal.Keybox{
				Token: t, Birthday23: encoding.Date{Year: 2035, Month: 5, Day: 6}, Reference: "dossier Z-000001",
			})
			r.must(err)
			api.Sign(u.sign, statement)
			if !receipt.Verify(public) {
				r.Fatal("a signature does not verify")
			}
		}
	})
}

// serveWorld starts this binary once more as everything around a gateway, and gives
// the gateway's configuration.
func serveWorld(r *run) gateway.Config {
	r.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestServe$", "-serve", r.TempDir())
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	r.must(err)
	out, err := cmd.StdoutPipe()
	r.must(err)
	r.must(cmd.Start())
	lines := bufio.NewReader(out)
	r.Cleanup(func() {
		in.Close() // which ends it
		io.Copy(io.Discard, lines)
		if err := cmd.Wait(); err != nil {
			r.Error(err)
		}
	})
	line, err := lines.ReadBytes('\n')
	r.must(err)
	var config gateway.Config
	r.must(json.Unmarshal(line, &config))
	return config
}

// TestServe is that other process: evaluators, a registry on disk, one party.
func TestServe(t *testing.T) {
	if *serve == "" {
		t.Skip("a benchmark's other process")
	}
	w := gatewaytest.New(t, 1)
	store, err := pebblestore.Open(filepath.Join(*serve, "registry"), w.Matcher.Keys, pebblestore.Options{Logger: silent{}})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Matcher.Store.Close(); err != nil { // the world's, in memory; it closes this one at its end
		t.Fatal(err)
	}
	w.Matcher.Store = store
	w.Manifest.Policy.DailyBudget, w.Manifest.Policy.MonthlyBudget = 1_000_000, 1_000_000
	w.Publish()
	line, err := json.Marshal(w.Configure(0))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("%s\n", line)
	io.Copy(io.Discard, os.Stdin)
}
