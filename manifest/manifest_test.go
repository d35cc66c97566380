// SPDX-License-Identifier: EUPL-1.2

package manifest_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/audit"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/manifest/manifesttest"
)

var now = manifesttest.Now

func commitments(n int) []encoding.Base64 {
	list := make([]encoding.Base64, n)
	for i := range list {
		random := manifesttest.Random32()
		list[i] = random[:]
	}
	return list
}

// world has two evaluators of three to sign, two epochs and three sharings.
func world(t testing.TB) *manifesttest.World {
	w := manifesttest.New(t, 2, 3)
	w.Manifest.Epochs = append(w.Manifest.Epochs, manifest.Epoch{Number: 3, State: manifest.EpochOpen, Opens: encoding.Date{Year: 2027, Month: 2, Day: 1}})
	for _, key := range []struct {
		epoch  uint64
		cohort int
	}{{1, 2012}, {1, 2013}, {3, 2012}} {
		w.Manifest.Sharings = append(w.Manifest.Sharings, manifest.Sharing{Epoch: key.epoch, Cohort: key.cohort, Number: 1, Commitments: commitments(2)})
	}
	return w
}

// next is a version 2 that follows, before a test changes it.
func next(t testing.TB, m *manifest.Manifest) *manifest.Manifest {
	t.Helper()
	text, err := m.Note()
	if err != nil {
		t.Fatal(err)
	}
	n, err := manifest.ParseManifest(text)
	if err != nil {
		t.Fatal(err)
	}
	n.Version, n.Previous = m.Version+1, m.Hash()
	return n
}

func TestOpenDraft(t *testing.T) {
	w := world(t)
	whole := w.Manifest.Sharings
	w.Manifest.Sharings = nil
	pins := w.Pins()
	open := func(signer note.Signer) error {
		t.Helper()
		text, err := w.Manifest.Note()
		if err != nil {
			t.Fatal(err)
		}
		_, err = pins.OpenDraft(manifesttest.Sign(t, text, signer))
		return err
	}
	if err := open(w.Governance); err != nil {
		t.Fatal(err)
	}
	if err := open(w.Evaluators[0]); !errors.Is(err, manifest.ErrSigner) {
		t.Errorf("signed by an evaluator alone: %v", err)
	}
	w.Manifest.Sharings = whole
	if err := open(w.Governance); !errors.Is(err, manifest.ErrDraft) {
		t.Errorf("with sharings: %v", err)
	}
	w.Manifest.Sharings, w.Manifest.Dep = nil, "other"
	if err := open(w.Governance); !errors.Is(err, manifest.ErrDeployment) {
		t.Errorf("of another deployment: %v", err)
	}
	w.Manifest.Dep = pins.Dep
	_, w.Manifest.Governance = manifesttest.Signer(t, "governance")
	if err := open(w.Governance); !errors.Is(err, manifest.ErrGovernance) {
		t.Errorf("that names another governance: %v", err)
	}
}

func TestOpenManifest(t *testing.T) {
	w := world(t)
	m, err := manifest.OpenManifest(w.SignedManifest(t), w.Pins(), now)
	if err != nil {
		t.Fatal(err)
	}
	text, err := m.Note()
	if err != nil {
		t.Fatal(err)
	}
	if m.Hash() != sha256.Sum256([]byte(text)) || m.Hash() != w.Manifest.Hash() {
		t.Error("the hash is not that of the text")
	}
	if open := m.Open(); len(open) != 2 || open[0].Number != 1 || open[1].Number != 3 {
		t.Errorf("open epochs: %v", open)
	}
	if s, ok := m.Sharing(3, 2012); !ok || s.Epoch != 3 || s.Cohort != 2012 || len(s.Points()) != 2 {
		t.Errorf("sharing: %v, %v", s, ok)
	}
	if _, ok := m.Sharing(3, 2013); ok {
		t.Error("a sharing out of nothing")
	}
	if e, ok := m.Evaluator(2); !ok || e.Name != "evaluator-2" {
		t.Errorf("evaluator: %v, %v", e, ok)
	}
	if _, ok := m.Evaluator(0); ok {
		t.Error("an evaluator out of nothing")
	}
}

// Any t of the evaluators are enough, and a signature of a stranger does no harm.
func TestQuorum(t *testing.T) {
	w := world(t)
	text, _ := w.Manifest.Note()
	stranger, _ := manifesttest.Signer(t, "stranger")
	for _, pair := range [][2]int{{0, 1}, {0, 2}, {1, 2}} {
		msg := manifesttest.Sign(t, text, w.Evaluators[pair[0]], stranger, w.Evaluators[pair[1]], w.Governance)
		if _, err := manifest.OpenManifest(msg, w.Pins(), now); err != nil {
			t.Errorf("%v: %v", pair, err)
		}
	}
}

func TestSignatures(t *testing.T) {
	w := world(t)
	text, _ := w.Manifest.Note()
	stranger, strangerKey := manifesttest.Signer(t, "evaluator-1") // the name alone is worth nothing
	open := func(pins manifest.Pins, text string, signers ...note.Signer) error {
		_, err := manifest.OpenManifest(manifesttest.Sign(t, text, signers...), pins, now)
		return err
	}
	twoNames := w.Pins()
	twoNames.Evaluators = []string{w.Manifest.Evaluators[0].Note, rename(t, w.Manifest.Evaluators[0].Note, "other-name")}
	twice := w.Pins()
	twice.Evaluators[1] = twice.Evaluators[0]
	governing := w.Pins()
	governing.Evaluators[0] = governing.Governance
	otherDep := w.Pins()
	otherDep.Dep = "other"
	higher := w.Pins()
	higher.Threshold = 3
	otherGovernance := w.Pins()
	otherGovernance.Governance = strangerKey
	twisted := manifesttest.Sign(t, text, w.Governance, w.Evaluators[0], w.Evaluators[1])
	twisted = []byte(strings.Replace(string(twisted), `"answerDays": 5`, `"answerDays": 6`, 1))

	for reason, c := range map[string]struct {
		err  error
		want error
	}{
		"no_signature":                 {open(w.Pins(), text), manifest.ErrNote},
		"governance_missing":           {open(w.Pins(), text, w.Evaluators...), manifest.ErrGovernance},
		"strangers_only":               {open(w.Pins(), text, stranger), manifest.ErrGovernance},
		"too_few_evaluators":           {open(w.Pins(), text, w.Governance, w.Evaluators[0]), manifest.ErrQuorum},
		"one_evaluator_signs_twice":    {open(w.Pins(), text, w.Governance, w.Evaluators[0], w.Evaluators[0]), manifest.ErrQuorum},
		"stranger_under_a_pinned_name": {open(w.Pins(), text, w.Governance, w.Evaluators[0], stranger), manifest.ErrQuorum},
		"one_key_under_two_names":      {open(twoNames, text, w.Governance, w.Evaluators[0]), manifest.ErrPins},
		"one_key_pinned_twice":         {open(twice, text, w.Governance, w.Evaluators[0]), manifest.ErrPins},
		"governance_pinned_as_evaluator": {open(governing, text, w.Governance, w.Evaluators[1]),
			manifest.ErrPins},
		"threshold_under_the_pinned_one": {open(higher, text, append(w.Evaluators, w.Governance)...), manifest.ErrThreshold},
		"another_governance_named":       {open(otherGovernance, text, append(w.Evaluators[1:], stranger)...), manifest.ErrGovernance},
		"another_deployment":             {open(otherDep, text, append(w.Evaluators, w.Governance)...), manifest.ErrDeployment},
		"text_changed_after_signing":     {second(manifest.OpenManifest(twisted, w.Pins(), now)), manifest.ErrNote},
		"expired":                        {second(manifest.OpenManifest(w.SignedManifest(t), w.Pins(), w.Manifest.NotAfter.Add(1))), manifest.ErrExpired},
		"directory_for_a_manifest":       {open(w.Pins(), must(w.Directory.Note()), append(w.Evaluators, w.Governance)...), manifest.ErrText},
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			if !errors.Is(c.err, c.want) {
				t.Errorf("got %v, want %v", c.err, c.want)
			}
		})
	}
}

func second[T any](_ T, err error) error { return err }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// cosigning is a key as witnesses use it.
func cosigning(t *testing.T, vkey string) string {
	t.Helper()
	w, err := audit.WitnessKey(vkey)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// rename gives the same key under another name, with the hash that fits.
func rename(t *testing.T, vkey, name string) string {
	t.Helper()
	parts := strings.SplitN(vkey, "+", 3)
	raw, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(append([]byte(name+"\n"), raw...))
	renamed := fmt.Sprintf("%s+%x+%s", name, sum[:4], parts[2])
	if _, err := note.NewVerifier(renamed); err != nil {
		t.Fatal(err)
	}
	return renamed
}

func TestContent(t *testing.T) {
	type M = manifest.Manifest
	box := bytes.Repeat([]byte{9}, 32)
	for reason, c := range map[string]struct {
		spoil func(*M)
		want  error
	}{
		"no_deployment":              {func(m *M) { m.Dep = "" }, manifest.ErrHead},
		"version_0":                  {func(m *M) { m.Version = 0 }, manifest.ErrHead},
		"version_1_with_previous":    {func(m *M) { m.Previous = manifesttest.Random32() }, manifest.ErrHead},
		"version_2_without_previous": {func(m *M) { m.Version = 2 }, manifest.ErrHead},
		"no_end":                     {func(m *M) { m.NotAfter = time.Time{} }, manifest.ErrHead},
		"end_in_another_zone":        {func(m *M) { m.NotAfter = m.NotAfter.In(time.FixedZone("", 3600)) }, manifest.ErrHead},
		"end_between_seconds":        {func(m *M) { m.NotAfter = m.NotAfter.Add(1) }, manifest.ErrHead},

		"threshold_0":                    {func(m *M) { m.Threshold = 0 }, manifest.ErrThreshold},
		"threshold_over_evaluators":      {func(m *M) { m.Threshold = 4 }, manifest.ErrThreshold},
		"no_epochs":                      {func(m *M) { m.Epochs, m.Sharings = nil, nil }, manifest.ErrEpochs},
		"epoch_0":                        {func(m *M) { m.Epochs[0].Number = 0 }, manifest.ErrEpochs},
		"epochs_newest_first":            {func(m *M) { m.Epochs[0], m.Epochs[1] = m.Epochs[1], m.Epochs[0] }, manifest.ErrEpochs},
		"epoch_twice":                    {func(m *M) { m.Epochs[1].Number = 1 }, manifest.ErrEpochs},
		"unknown_state":                  {func(m *M) { m.Epochs[0].State = "ajar" }, manifest.ErrEpochs},
		"epoch_without_a_date":           {func(m *M) { m.Epochs[0].Opens = encoding.Date{} }, manifest.ErrEpochs},
		"epoch_closes_before_it_opens":   {func(m *M) { m.Epochs[0].Closes = m.Epochs[0].Opens }, manifest.ErrEpochs},
		"compromised_and_none_open":      {func(m *M) { m.Epochs[0].State, m.Epochs[1].State = manifest.EpochCompromised, manifest.EpochClosed }, manifest.ErrEpochs},
		"three_open_epochs":              {func(m *M) { m.Epochs = append(m.Epochs, m.Epochs[1]); m.Epochs[2].Number = 4 }, manifest.ErrEpochs},
		"evaluator_index_0":              {func(m *M) { m.Evaluators[0].Index = 0 }, manifest.ErrEvaluators},
		"evaluator_index_twice":          {func(m *M) { m.Evaluators[1].Index = 1 }, manifest.ErrEvaluators},
		"evaluator_without_a_name":       {func(m *M) { m.Evaluators[1].Name = "" }, manifest.ErrEvaluators},
		"evaluator_over_http":            {func(m *M) { m.Evaluators[1].URL = "http://127.0.0.1" }, manifest.ErrURL},
		"trailing_slash":                 {func(m *M) { m.Evaluators[1].URL += "/" }, manifest.ErrURL},
		"password_in_an_address":         {func(m *M) { m.Registry.URL = "https://a:b@example.org" }, manifest.ErrURL},
		"registry_without_a_public_url":  {func(m *M) { m.Registry.PublicURL = "" }, manifest.ErrURL},
		"tls_pin_missing":                {func(m *M) { m.Evaluators[0].TLS = manifest.Pin{} }, manifest.ErrKey},
		"evaluator_with_a_short_box":     {func(m *M) { m.Evaluators[1].Box = make([]byte, 31) }, manifest.ErrEvaluators},
		"two_evaluators_one_box":         {func(m *M) { m.Evaluators[0].Box, m.Evaluators[1].Box = box, box }, manifest.ErrKeyTwice},
		"tls_pin_twice":                  {func(m *M) { m.Evaluators[1].TLS = m.Registry.TLS }, manifest.ErrKeyTwice},
		"one_key_under_two_names":        {func(m *M) { m.Evaluators[1].Note = rename(t, m.Evaluators[0].Note, "another") }, manifest.ErrKeyTwice},
		"governance_is_directory_signer": {func(m *M) { m.DirectorySigner = m.Governance }, manifest.ErrKeyTwice},
		"log_key_is_an_evaluators":       {func(m *M) { m.Registry.Log = m.Evaluators[0].Note }, manifest.ErrKeyTwice},
		"witness_key_is_an_evaluators":   {func(m *M) { m.Evaluators[0].Witness = m.Evaluators[0].Note }, manifest.ErrVKey},
		"witness_key_is_the_note_key":    {func(m *M) { m.Evaluators[0].Witness = cosigning(t, m.Evaluators[0].Note) }, manifest.ErrKeyTwice},
		"log_with_too_few_witnesses":     {func(m *M) { m.Evaluators[0].Witness, m.Evaluators[1].Witness = "", "" }, manifest.ErrWitnesses},
		"vkey_with_a_wrong_hash":         {func(m *M) { m.Governance = "x" + m.Governance }, manifest.ErrVKey},
		"vkey_missing":                   {func(m *M) { m.Evaluators[2].Note = "" }, manifest.ErrVKey},
		"no_receipt_key":                 {func(m *M) { m.Registry.ReceiptKeys = nil }, manifest.ErrKey},
		"receipt_key_with_another_id":    {func(m *M) { m.Registry.ReceiptKeys[0].ID[0]++ }, manifest.ErrKey},
		"receipt_key_ends_first": {func(m *M) {
			m.Registry.ReceiptKeys[0].Until = m.Registry.ReceiptKeys[0].From
		}, manifest.ErrKey},
		"receipt_key_twice": {func(m *M) {
			m.Registry.ReceiptKeys = append(m.Registry.ReceiptKeys, m.Registry.ReceiptKeys[0])
		}, manifest.ErrKeyTwice},

		"sharing_of_an_unknown_epoch": {func(m *M) { m.Sharings[2].Epoch = 4 }, manifest.ErrSharings},
		"sharing_0":                   {func(m *M) { m.Sharings[2].Number = 0 }, manifest.ErrSharings},
		"sharing_twice":               {func(m *M) { m.Sharings[1].Cohort = 2012 }, manifest.ErrSharings},
		"sharings_out_of_order":       {func(m *M) { m.Sharings[1].Cohort = 2011 }, manifest.ErrSharings},
		"cohort_of_two_digits":        {func(m *M) { m.Sharings[0].Cohort = 12 }, manifest.ErrSharings},
		"commitment_missing":          {func(m *M) { m.Sharings[0].Commitments = commitments(1) }, manifest.ErrCommitments},
		"commitment_too_many":         {func(m *M) { m.Sharings[0].Commitments = commitments(3) }, manifest.ErrCommitments},
		"commitment_of_31_bytes":      {func(m *M) { m.Sharings[0].Commitments[1] = make([]byte, 31) }, manifest.ErrCommitments},
		"commitment_is_the_identity":  {func(m *M) { m.Sharings[0].Commitments[0] = make([]byte, 32) }, manifest.ErrCommitments},

		"no_term":               {func(m *M) { m.Policy.TermDays = 0 }, manifest.ErrPolicy},
		"term_over_two_years":   {func(m *M) { m.Policy.TermDays = 732 }, manifest.ErrPolicy},
		"no_end_of_legal_basis": {func(m *M) { m.Policy.LegalBasisEnds = encoding.Date{} }, manifest.ErrPolicy},
		"another_time_zone":     {func(m *M) { m.Policy.TimeZone = "UTC" }, manifest.ErrPolicy},
		"no_budget":             {func(m *M) { m.Policy.DailyBudget = 0 }, manifest.ErrPolicy},
		"month_under_day":       {func(m *M) { m.Policy.MonthlyBudget = m.Policy.DailyBudget - 1 }, manifest.ErrPolicy},
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			w := world(t)
			c.spoil(w.Manifest)
			if _, err := w.Manifest.Note(); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestText(t *testing.T) {
	w := world(t)
	text, err := w.Manifest.Note()
	if err != nil {
		t.Fatal(err)
	}
	replace := func(old, new string) string {
		t.Helper()
		if !strings.Contains(text, old) {
			t.Fatalf("%q is not in the text", old)
		}
		return strings.Replace(text, old, new, 1)
	}
	for reason, spoilt := range map[string]string{
		"another_label":     replace("seinhuis/1/manifest", "seinhuis/2/manifest"),
		"no_label":          replace("seinhuis/1/manifest\n", ""),
		"unknown_key":       replace(`"version": 1`, `"version": 1, "extra": 2`),
		"key_twice":         replace(`"version": 1`, "\"version\": 1,\n  \"version\": 1"),
		"other_spacing":     replace(`"version": 1`, `"version":1`),
		"other_spelling":    replace(`"dep": "test"`, `"dep": "\u0074est"`),
		"empty_key_written": replace(`"version": 1`, "\"version\": 1,\n  \"previous\": \""+api.Hash{}.String()+`"`),
		"trailing_data":     text + "{}\n",
		"trailing_newline":  text + "\n",
		"pin_in_capitals":   replace(w.Manifest.Registry.TLS.String(), strings.ToUpper(w.Manifest.Registry.TLS.String())),
		"time_with_zone":    replace("T12:00:00Z", "T12:00:00+00:00"),
		"empty":             "",
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			if _, err := manifest.ParseManifest(spoilt); !errors.Is(err, manifest.ErrText) {
				t.Errorf("got %v, want ErrText", err)
			}
		})
	}
}

func TestFollows(t *testing.T) {
	type M = manifest.Manifest
	for name, change := range map[string]func(*M){
		"nothing_new": func(*M) {},
		"resharing": func(m *M) {
			m.Sharings[0].Number = 2
			m.Sharings[0].Commitments[1] = commitments(1)[0]
		},
		"new_cohort": func(m *M) {
			m.Sharings = append(m.Sharings, manifest.Sharing{Epoch: 3, Cohort: 2028, Number: 1, Commitments: commitments(2)})
		},
		"epoch_closes":     func(m *M) { m.Epochs[0].State = manifest.EpochClosed },
		"epoch_stolen":     compromise,
		"closed_and_taken": func(m *M) { m.Epochs[0].State = manifest.EpochClosed; m.Sharings = m.Sharings[2:] },
		"new_epoch": func(m *M) {
			m.Epochs[0].State = manifest.EpochClosed
			m.Epochs = append(m.Epochs, manifest.Epoch{Number: 4, State: manifest.EpochOpen, Opens: encoding.Date{Year: 2028, Month: 1, Day: 1}})
		},
		"versions_skipped": func(m *M) { m.Version = 9; m.Previous = manifesttest.Random32() },
		"key_revoked":      func(m *M) { m.Registry.ReceiptKeys[0].Revoked = true },
	} {
		t.Run(name, func(t *testing.T) {
			w := world(t)
			n := next(t, w.Manifest)
			change(n)
			if _, err := n.Note(); err != nil {
				t.Fatal(err)
			}
			if err := n.Follows(w.Manifest); err != nil {
				t.Error(err)
			}
		})
	}
	for reason, c := range map[string]struct {
		before func(*M) // of the version before
		spoil  func(*M)
		want   error
	}{
		"the_same_version":      {nil, func(m *M) { m.Version, m.Previous = 1, api.Hash{} }, manifest.ErrVersion},
		"lower_version":         {func(m *M) { m.Version, m.Previous = 5, manifesttest.Random32() }, func(m *M) { m.Version = 4 }, manifest.ErrVersion},
		"another_previous":      {nil, func(m *M) { m.Previous[0]++ }, manifest.ErrPrevious},
		"another_deployment":    {nil, func(m *M) { m.Dep = "other" }, manifest.ErrDeployment},
		"public_key_changed":    {nil, func(m *M) { m.Sharings[0].Number = 2; m.Sharings[0].Commitments = commitments(2) }, manifest.ErrPublicKey},
		"public_key_of_skipped": {nil, func(m *M) { m.Version = 7; m.Sharings[2].Commitments[0] = commitments(1)[0] }, manifest.ErrPublicKey},
		"same_number_other_commitments": {nil, func(m *M) { m.Sharings[0].Commitments[1] = commitments(1)[0] },
			manifest.ErrSharingNumber},
		"sharing_goes_back":   {func(m *M) { m.Sharings[0].Number = 2 }, func(m *M) { m.Sharings[0].Number = 1 }, manifest.ErrSharingNumber},
		"sharing_disappears":  {nil, func(m *M) { m.Sharings = m.Sharings[1:] }, manifest.ErrSharingGone},
		"epoch_disappears":    {nil, func(m *M) { m.Epochs = m.Epochs[1:]; m.Sharings = m.Sharings[2:] }, manifest.ErrEpochGone},
		"closed_epoch_opens":  {func(m *M) { m.Epochs[0].State = manifest.EpochClosed }, func(m *M) { m.Epochs[0].State = manifest.EpochOpen }, manifest.ErrEpochGone},
		"compromised_opens":   {compromise, func(m *M) { m.Epochs[0].State = manifest.EpochOpen }, manifest.ErrEpochGone},
		"compromised_closes":  {compromise, func(m *M) { m.Epochs[0].State = manifest.EpochClosed }, manifest.ErrEpochGone},
		"revoked_key_revived": {func(m *M) { m.Registry.ReceiptKeys[0].Revoked = true }, func(m *M) { m.Registry.ReceiptKeys[0].Revoked = false }, manifest.ErrRevived},
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			w := world(t)
			if c.before != nil {
				c.before(w.Manifest)
			}
			n := next(t, w.Manifest)
			c.spoil(n)
			if _, err := n.Note(); err != nil {
				t.Fatalf("not valid by itself, so this says nothing: %v", err)
			}
			if err := n.Follows(w.Manifest); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestAddSignature(t *testing.T) {
	w := world(t)
	text, err := w.Manifest.Note()
	if err != nil {
		t.Fatal(err)
	}
	msg := []byte(text)
	for _, signer := range []note.Signer{w.Evaluators[2], w.Governance, w.Evaluators[0], w.Evaluators[0]} {
		if msg, err = manifest.AddSignature(msg, signer); err != nil {
			t.Fatal(err)
		}
		if got, err := manifest.TextOf(msg); err != nil || got != text {
			t.Fatalf("the text changed (%v)", err)
		}
	}
	if _, err := manifest.OpenManifest(msg, w.Pins(), now); err != nil {
		t.Error(err)
	}
	if n := strings.Count(string(msg), "\n— "); n != 3 {
		t.Errorf("%d signatures, want 3", n)
	}
}

func FuzzParseManifest(f *testing.F) {
	text, err := world(f).Manifest.Note()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add("seinhuis/1/manifest\n{}\n")
	f.Fuzz(func(t *testing.T, text string) {
		m, err := manifest.ParseManifest(text)
		if err != nil {
			return
		}
		if again, err := m.Note(); err != nil || again != text {
			t.Fatalf("what parsed writes another text (%v)", err)
		}
	})
}

func compromise(m *manifest.Manifest) { m.Epochs[0].State = manifest.EpochCompromised }

// TestLost says which signals are lost with a compromised epoch.
func TestLost(t *testing.T) {
	m := &manifest.Manifest{Epochs: []manifest.Epoch{
		{Number: 1, State: manifest.EpochClosed}, {Number: 2, State: manifest.EpochCompromised}, {Number: 3, State: manifest.EpochOpen}, {Number: 4, State: manifest.EpochOpen},
	}}
	for _, c := range []struct {
		faces []uint64
		want  bool
	}{{[]uint64{2}, true}, {[]uint64{1, 2}, true}, {[]uint64{2, 3}, false}, {[]uint64{3, 4}, false}, {[]uint64{2, 4}, true}, {[]uint64{1}, false}, {nil, false}} {
		if got := m.Lost(c.faces); got != c.want {
			t.Errorf("faces in %v are lost: %v", c.faces, got)
		}
	}
	m.Epochs[2].State = manifest.EpochClosed
	m.Epochs[3].State = manifest.EpochClosed
	if m.Lost([]uint64{2}) {
		t.Error("lost, and nothing is open to be lost to")
	}
}
