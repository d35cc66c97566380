// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/crypto/identity"
	"github.com/seinhuis/seinhuis/crypto/oprf"
	"github.com/seinhuis/seinhuis/crypto/token"
	"github.com/seinhuis/seinhuis/evaluator"
	"github.com/seinhuis/seinhuis/keys"
	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/soak"
)

// TestRow12PrivacyOracle takes marked children and cards through the built programs:
// signals, a report, an import, matches, kill -9, a backup. Then it looks for every mark,
// in every form in which bytes are written down, wherever it must not be.
func TestRow12PrivacyOracle(t *testing.T) {
	soak.Row(t, 12, "marks of children and cards, where they must not be", 1, func(t *testing.T, seed uint64) soak.Found {
		o := newSeeker(t, rand.New(rand.NewPCG(seed, 12)))
		o.play()
		return o.look()
	})
}

// A seeker knows what must not be found, and where it has looked.
type seeker struct {
	*testing.T
	n     *Network
	rng   *rand.Rand
	marks map[string][]byte // what it is, for the failure; never the mark itself

	found soak.Found
}

const (
	oracleBorn     = "2014-03-02"
	oracleChildren = 6
)

func newSeeker(t *testing.T, rng *rand.Rand) *seeker {
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	o := &seeker{T: t, rng: rng, marks: map[string][]byte{}, found: soak.Found{}}
	o.n = &Network{root: t.TempDir(), bin: bin, fatal: func(err error) { t.Error(err) }}
	o.must(o.n.setUp(t.Context(), encoding.DateOf(time.Now().UTC())))
	t.Cleanup(func() {
		for _, p := range o.n.processes() {
			p.end(syscall.SIGKILL)
		}
	})
	o.must(o.n.startAll(t.Context()))
	return o
}

func (o *seeker) must(err error) {
	o.Helper()
	if err != nil {
		o.Fatal(err)
	}
}

// mark makes a text that stands nowhere else.
func (o *seeker) mark(what, shape string) string {
	text := fmt.Sprintf(shape, o.rng.Uint64()|1<<63)
	o.marks[what] = []byte(text)
	return text
}

func (o *seeker) number(child int) string { return loadNumber(1000 + child) }

// send posts to a party's gateway.
func (o *seeker) send(party int, path string, body, out any) {
	o.Helper()
	c := &http.Client{Timeout: time.Minute}
	defer c.CloseIdleConnections()
	if err := post(c, o.n.gatewayURLs[parties[party].Gateway]+"/v1"+path, o.n.tokenFile(party), body, out); err != nil {
		o.Fatal(err)
	}
}

func (o *seeker) card(party int) object {
	of := fmt.Sprintf("card of party %d: ", party)
	return object{
		"naam": o.mark(of+"name", "Kanarie %x"), "functie": o.mark(of+"role", "functie %x"), "afdeling": o.mark(of+"desk", "Team %x"),
		"telefoon": o.mark(of+"phone", "+31 %d"), "email": o.mark(of+"email", "k%x@post.example"),
		"bereikbaarheid": o.mark(of+"reachable", "na %x uur"),
	}
}

// play has all happen that brings a child through every part.
func (o *seeker) play() {
	o.Helper()
	for child := range oracleChildren {
		o.marks[fmt.Sprintf("number of child %d", child)] = []byte(o.number(child))
	}
	o.secrets()
	owner, reference := o.mark("professional", "k.%x"), o.mark("reference", "DOSSIER-%x")
	person := func(child int) object {
		return object{"nummersoort": "bsn", "nummer": o.number(child), "geboortedatum": oracleBorn, "kenmerk": reference}
	}
	signal := func(party, child int) string {
		o.Helper()
		body := person(child)
		body["hulpverlener"], body["contactkaart"] = owner, o.card(party)
		var taken struct{ ID string }
		o.send(party, "/signalen?wacht=30", body, &taken)
		o.found["signals"]++
		return taken.ID
	}
	for child := range 3 {
		signal(0, child)
	}
	withdrawn := signal(1, 0)
	o.send(veiligThuis, "/meldingen?wacht=30", object{
		"kenmerk": reference, "hulpverlener": owner, "contactkaart": o.card(veiligThuis), "personen": []object{person(0), person(1), person(3)},
	}, nil)
	o.found["signals"] += 3

	for _, p := range []*process{o.n.registry, o.n.evaluators[0], o.n.gateways[0]} {
		o.must(p.end(syscall.SIGKILL))
		o.must(o.n.start(o.Context(), p))
	}
	var imported struct{ ID string }
	o.send(5, "/importen", object{"kenmerk": o.mark("import", "LIJST-%x"), "aantalRegels": oracleChildren, "hulpverlener": owner, "contactkaart": o.card(5)}, &imported)
	var rows []object
	for child := range oracleChildren {
		rows = append(rows, person(child))
	}
	o.send(5, "/importen/"+imported.ID+"/regels", object{"eerste": 1, "regels": rows}, nil)
	o.found["signals"] += oracleChildren
	o.matched(0, 3)
	o.send(1, "/signalen/"+withdrawn+"/intrekking?wacht=30", object{"reden": "afgesloten"}, nil)
}

// matched waits until a party has so many matches, in each of which it is shown a card of
// another.
func (o *seeker) matched(party, want int) {
	o.Helper()
	client, err := o.n.client(party)
	o.must(err)
	phone := o.marks["card of party 5: phone"]
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		list, err := client.LijstMatchesWithResponse(o.Context(), nil)
		o.must(err)
		shown := 0
		for _, m := range list.JSON200.Items {
			one, err := client.LeesMatchWithResponse(o.Context(), m.Id, nil)
			o.must(err)
			if bytes.Contains(one.Body, phone) {
				shown++
			}
		}
		if shown >= want {
			o.found["cards"] += shown
			return
		}
		if time.Now().After(deadline) {
			o.Fatalf("of %d matches %d show the card, want %d", len(list.JSON200.Items), shown, want)
		}
	}
}

// secrets marks shares and keys, and what they make of each child.
func (o *seeker) secrets() {
	o.Helper()
	text, err := os.ReadFile(o.n.folder("registry", "manifest.txt"))
	o.must(err)
	body, err := manifest.TextOf(text)
	o.must(err)
	m, err := manifest.ParseManifest(body)
	o.must(err)
	birth, err := encoding.ParseDate(oracleBorn)
	o.must(err)
	sharing, ok := m.Sharing(1, birth.Year)
	if !ok {
		o.Fatal("there is no key of that birth year")
	}
	commitments, err := oprf.ParseCommitments(sharing.Points())
	o.must(err)
	var evaluators []*oprf.Evaluator
	for i := range evaluatorCount {
		folder := func(path ...string) string { return o.n.folder(evaluatorName(i), path...) }
		safe, err := keys.OpenSafe(o.n.sealing(evaluatorName(i)))
		o.must(err)
		shares, err := evaluator.Vault{Shares: folder("shares"), Wrapping: folder("wrapping"), Destroyed: folder("data", "destroyed"), Safe: safe}.Read()
		o.must(err)
		at := slices.IndexFunc(shares, func(s evaluator.Share) bool { return s.Cohort == birth.Year })
		value, err := shares[at].Value.MarshalBinary()
		o.must(err)
		o.marks[fmt.Sprintf("share of evaluator %d", i+1)] = value
		engine, err := oprf.NewEvaluator(shares[at].Value)
		o.must(err)
		evaluators = append(evaluators, engine)
	}
	for child := range oracleChildren {
		id, err := identity.Parse(identity.BSN, o.number(child), birth, encoding.DateOf(time.Now()))
		o.must(err)
		x, err := id.Canonical(m.Dep, 1)
		o.must(err)
		blinding, err := oprf.Blind([][]byte{x})
		o.must(err)
		var partials []oprf.Partial
		for i, e := range evaluators[:m.Threshold] {
			elements, proof, err := e.Evaluate(blinding.Elements())
			o.must(err)
			partial, err := blinding.Verify(commitments, i+1, elements, proof)
			o.must(err)
			partials = append(partials, partial)
		}
		y, err := blinding.Combine(m.Threshold, partials)
		o.must(err)
		tok, err := token.Derive(y[0], m.Dep, 1)
		o.must(err)
		of := fmt.Sprintf(" of child %d", child)
		o.marks["canonical identity"+of], o.marks["y"+of] = x, y[0]
		o.marks["tag"+of], o.marks["seal"+of] = tok.Tag[:], tok.Seal[:]
	}
}

// look stops everything and looks everywhere.
func (o *seeker) look() soak.Found {
	o.Helper()
	registryMemory := o.memory(o.n.registry)
	memories := map[string][][]byte{"registry": registryMemory}
	for i, p := range o.n.evaluators {
		memories[evaluatorName(i)] = o.memory(p)
	}
	for _, p := range o.n.processes() {
		o.measured(p)
	}
	o.must(o.n.stopAll())
	_, err := o.n.run(o.Context(), "registry", "backup", "-config", o.n.folder("registry", "config.json"), "-to", filepath.Join(o.n.root, "backup"))
	o.must(err)

	all := newSearch(o.marks, func(string) bool { return true })
	if all.in([]byte("x"+base64.StdEncoding.EncodeToString(append([]byte("ab"), o.marks["seal of child 0"]...)))) == "" {
		o.Fatal("the search does not find what is there")
	}
	o.must(filepath.WalkDir(o.n.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		o.found["files"]++
		if what := all.in(text); what != "" {
			o.Errorf("%s holds a %s", strings.TrimPrefix(path, o.n.root), what)
		}
		return nil
	}))
	// In memory a part may have what it works with: the registry tags, an evaluator its
	// share.
	for name, dump := range memories {
		known := newSearch(map[string][]byte{"party": []byte(parties[0].ID)}, func(string) bool { return true })
		search := newSearch(o.marks, func(what string) bool {
			return !(name == "registry" && strings.HasPrefix(what, "tag ")) && what != "share of "+strings.Replace(name, "-", " ", 1)
		})
		there := false
		for _, region := range dump {
			o.found["MB of memory"] += len(region) >> 20
			there = there || known.in(region) != ""
			if what := search.in(region); what != "" {
				o.Errorf("the memory of %s holds a %s", name, what)
			}
		}
		if dump != nil && !there {
			o.Errorf("the memory of %s does not even hold a party's id: it was not read", name)
		}
	}
	return o.found
}

// measured looks at what a process tells at its operations listener.
func (o *seeker) measured(p *process) {
	o.Helper()
	log, err := os.Open(p.log)
	o.must(err)
	defer log.Close()
	search := newSearch(o.marks, func(string) bool { return true })
	asked := 0
	for lines := bufio.NewScanner(log); lines.Scan(); {
		var line struct{ Msg, Operations, Metrics string }
		if json.Unmarshal(lines.Bytes(), &line) != nil || line.Msg != "listening" {
			continue
		}
		for _, path := range []string{"/metrics", "/health"} {
			resp, err := http.Get("http://" + line.Operations + line.Metrics + path)
			if err != nil { // of a process that was killed
				continue
			}
			text, err := io.ReadAll(resp.Body)
			o.must(errors.Join(err, resp.Body.Close()))
			asked++
			if what := search.in(text); what != "" {
				o.Errorf("%s of %s tells a %s", path, p.name, what)
			}
		}
	}
	if asked == 0 {
		o.Errorf("%s was not asked what it measures", p.name)
	}
	o.found["measurements"] += asked
}

// memory is all that a core dump of a process would have; nil where the system shows it
// to nobody.
func (o *seeker) memory(p *process) (regions [][]byte) {
	o.Helper()
	if runtime.GOOS != "linux" {
		return nil
	}
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", p.pid()))
	var mem *os.File
	if err == nil {
		mem, err = os.Open(fmt.Sprintf("/proc/%d/mem", p.pid()))
	}
	if errors.Is(err, fs.ErrPermission) { // whoever is not root: the process dumps no core
		o.Logf("LEFT OUT: the memory of %s, which this system shows to root at most", p.name)
		return nil
	}
	o.must(err)
	defer mem.Close()
	for line := range strings.Lines(string(maps)) {
		var from, to uint64
		var mode string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &mode); err != nil || !strings.HasPrefix(mode, "rw") {
			continue
		}
		region := make([]byte, to-from)
		n, _ := mem.ReadAt(region, int64(from)) // what is not there is not read
		if region = bytes.TrimRight(region[:n], "\x00"); len(region) > 0 {
			regions = append(regions, region)
		}
	}
	return regions
}

// A search finds many patterns at once, by their first eight bytes.
type search struct {
	first    [1 << 16]bool
	patterns map[uint64][]pattern
}

type pattern struct {
	what  string
	bytes []byte
}

func newSearch(marks map[string][]byte, wants func(string) bool) *search {
	s := &search{patterns: map[uint64][]pattern{}}
	for what, mark := range marks {
		if !wants(what) {
			continue
		}
		for _, form := range formsOf(mark) {
			s.first[binary.LittleEndian.Uint16(form)] = true
			at := binary.LittleEndian.Uint64(form)
			s.patterns[at] = append(s.patterns[at], pattern{what, form})
		}
	}
	return s
}

// in tells what is in a text, in any form; nothing if it is empty.
func (s *search) in(text []byte) string {
	for i := 0; i+8 <= len(text); i++ {
		if !s.first[binary.LittleEndian.Uint16(text[i:])] {
			continue
		}
		for _, p := range s.patterns[binary.LittleEndian.Uint64(text[i:])] {
			if bytes.HasPrefix(text[i:], p.bytes) {
				return p.what
			}
		}
	}
	return ""
}

// formsOf are the ways in which bytes are written down: as they are, in hexadecimal, in
// base64 wherever they begin in it, and as text of two bytes a character.
func formsOf(mark []byte) (forms [][]byte) {
	digits := hex.EncodeToString(mark)
	forms = append(forms, mark, []byte(digits), []byte(strings.ToUpper(digits)))
	for before := range 3 {
		padded := append(make([]byte, before), mark...)
		for _, alphabet := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			whole := alphabet.EncodeToString(padded)
			// Without the characters that other bytes have a part in.
			from, to := (before*8+5)/6, len(padded)*8/6
			forms = append(forms, []byte(whole[from:to]))
		}
	}
	var wide []byte
	for _, b := range mark {
		wide = append(wide, b, 0)
	}
	return append(forms, wide)
}
