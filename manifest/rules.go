// SPDX-License-Identifier: EUPL-1.2

package manifest

import (
	"bytes"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
)

// A Rule is a refusal: the rule that a note or a set of pins breaks.
type Rule string

func (r Rule) Error() string { return "manifest: " + string(r) }

// Rules of reading.
const (
	ErrText       Rule = "the text is not in its one form: the label's line, indented JSON with all keys known, a newline"
	ErrNote       Rule = "not a signed note"
	ErrPins       Rule = "the pins need a deployment, one governance key and at least threshold evaluator keys, all different; compare them with what governance published"
	ErrGovernance Rule = "not signed by the pinned governance key, or another governance is named"
	ErrQuorum     Rule = "not signed by enough different pinned evaluators"
	ErrSigner     Rule = "the note is not signed by the key that must have signed it"
	ErrDeployment Rule = "for another deployment"
	ErrDraft      Rule = "a draft has no sharings; governance makes it with manifest -draft"
	ErrExpired    Rule = "notAfter has passed; fetch the newest one"
)

// Rules of content.
const (
	ErrHead        Rule = "dep, version, previous and notAfter must be there: version from 1, previous from version 2, notAfter in UTC and whole seconds"
	ErrThreshold   Rule = "threshold is from 1 to the number of evaluators, and not under the pinned one"
	ErrEpochs      Rule = "epochs are at least one, oldest first, each open, closed or compromised with its dates, at most two of them open, and one at least beside a compromised one"
	ErrEvaluators  Rule = "evaluators have different indexes from 1, in order, a name, and a box of 32 bytes or none"
	ErrWitnesses   Rule = "the registry's log needs at least threshold evaluators with a witness key"
	ErrURL         Rule = "an address is https://host[:port][/path] without a trailing slash; only a public one may be http"
	ErrVKey        Rule = "a note key is name+hash+key, of Ed25519"
	ErrKeyTwice    Rule = "one key stands in two places; every use has a key of its own"
	ErrSharings    Rule = "sharings are in order, one per epoch and cohort, of a listed epoch, numbered from 1"
	ErrCommitments Rule = "a sharing has as many commitments as the threshold, 32 bytes each, none of them the identity"
	ErrKey         Rule = "a key has the id of its 32 bytes, a known use, and a window from < until"
	ErrPolicy      Rule = "the policy's numbers, dates, time zone or calendar are out of range"
	ErrParties     Rule = "parties are in order of their ids, each id once"
	ErrGrant       Rule = "grants are in order of from, each from once, with until at most 400 days later, 1 to 10,000,000 a day, no fewer a month, and a purpose"
	ErrParty       Rule = "a party has a well-formed id, a name, a kind and a region"
)

// Rules of following an earlier note.
const (
	ErrVersion       Rule = "versions only grow"
	ErrPrevious      Rule = "previous is not the hash of the version before"
	ErrPublicKey     Rule = "the public key C_0 of a known epoch and cohort never changes"
	ErrSharingNumber Rule = "a sharing's number never goes back, and one number has one set of commitments"
	ErrSharingGone   Rule = "the sharing of an open epoch stays"
	ErrEpochGone     Rule = "a known epoch stays, a closed one stays closed and a compromised one compromised"
	ErrRevived       Rule = "a revoked key stays listed, as revoked"
)

func at(rule Rule, list string, i int) error {
	return fmt.Errorf("%w (%s, number %d)", rule, list, i+1)
}

// check holds what a manifest must be by itself.
func (m *Manifest) check() error {
	if err := checkHead(m.Dep, m.Version, m.Previous, m.NotAfter); err != nil {
		return err
	}
	if m.Threshold < 1 || m.Threshold > len(m.Evaluators) {
		return ErrThreshold
	}
	for _, check := range []func() error{m.checkEpochs, m.checkEvaluators, m.checkSharings, m.checkRegistry, m.checkKeys, m.Policy.check} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func checkHead(dep string, version uint64, previous api.Hash, notAfter time.Time) error {
	if !api.ValidDeployment(dep) || version == 0 || (version == 1) != previous.IsZero() || !plainTime(notAfter) {
		return ErrHead
	}
	return nil
}

// plainTime tells whether t writes as 2006-01-02T15:04:05Z.
func plainTime(t time.Time) bool {
	return t.Year() >= 2000 && t.Year() <= 9999 && t.Location() == time.UTC && t.Nanosecond() == 0
}

func (m *Manifest) checkEpochs() error {
	for i, e := range m.Epochs {
		switch {
		case e.Number == 0, i > 0 && e.Number <= m.Epochs[i-1].Number,
			e.State != EpochOpen && !e.Closed(),
			e.Opens.IsZero(),
			!e.Closes.IsZero() && e.Closes.Compare(e.Opens) <= 0:
			return at(ErrEpochs, "epochs", i)
		}
	}
	open := len(m.Open())
	compromised := slices.ContainsFunc(m.Epochs, func(e Epoch) bool { return e.State == EpochCompromised })
	if len(m.Epochs) == 0 || open > api.MaxFaces || compromised && open == 0 {
		return ErrEpochs
	}
	return nil
}

func (m *Manifest) checkEvaluators() error {
	for i, e := range m.Evaluators {
		if e.Index < 1 || i > 0 && e.Index <= m.Evaluators[i-1].Index || !plainText(e.Name) ||
			len(e.Box) != 0 && len(e.Box) != pointSize {
			return at(ErrEvaluators, "evaluators", i)
		}
		if !plainURL(e.URL, "https") {
			return at(ErrURL, "evaluators", i)
		}
	}
	return nil
}

const pointSize = 32 // a ristretto255 element; 32 zeros are the identity

func (m *Manifest) checkSharings() error {
	for i, s := range m.Sharings {
		listed := slices.ContainsFunc(m.Epochs, func(e Epoch) bool { return e.Number == s.Epoch })
		if !listed || s.Number == 0 || s.Cohort < 1900 || s.Cohort > 9999 || i > 0 && !sharingBefore(m.Sharings[i-1], s) {
			return at(ErrSharings, "sharings", i)
		}
		if len(s.Commitments) != m.Threshold {
			return at(ErrCommitments, "sharings", i)
		}
		for _, c := range s.Commitments {
			if len(c) != pointSize || bytes.Equal(c, make([]byte, pointSize)) {
				return at(ErrCommitments, "sharings", i)
			}
		}
	}
	return nil
}

func sharingBefore(a, b Sharing) bool {
	return a.Epoch < b.Epoch || a.Epoch == b.Epoch && a.Cohort < b.Cohort
}

func (m *Manifest) checkRegistry() error {
	if !plainURL(m.Registry.URL, "https") || !plainURL(m.Registry.PublicURL, "https", "http") {
		return ErrURL
	}
	if len(m.Registry.ReceiptKeys) == 0 {
		return ErrKey
	}
	for i, k := range m.Registry.ReceiptKeys {
		if k.Use != "" || !k.valid() {
			return at(ErrKey, "receiptKeys", i)
		}
	}
	return nil
}

// checkKeys holds that every use has a key of its own: one key under two names
// would count as two signers.
func (m *Manifest) checkKeys() error {
	seen := map[string]bool{}
	once := func(key []byte) error {
		if seen[string(key)] {
			return ErrKeyTwice
		}
		seen[string(key)] = true
		return nil
	}
	signers := []string{m.Governance, m.DirectorySigner}
	for _, e := range m.Evaluators {
		signers = append(signers, e.Note)
	}
	if m.Registry.Log != "" {
		signers = append(signers, m.Registry.Log)
	}
	for _, vkey := range signers {
		k, err := parseVKey(vkey, algEd25519)
		if err != nil {
			return err
		}
		if err := once(k.key); err != nil {
			return err
		}
	}
	if m.Registry.Log != "" && len(m.Witnesses()) < m.Threshold {
		return ErrWitnesses
	}
	for _, vkey := range m.Witnesses() {
		k, err := parseVKey(vkey, algCosignature)
		if err != nil {
			return err
		}
		if err := once(k.key); err != nil {
			return err
		}
	}
	for _, k := range m.Registry.ReceiptKeys {
		if err := once(k.Key); err != nil {
			return err
		}
	}
	for _, e := range m.Evaluators {
		if len(e.Box) == 0 {
			continue
		}
		if err := once(e.Box); err != nil {
			return err
		}
	}
	pins := map[Pin]bool{m.Registry.TLS: true}
	for _, e := range m.Evaluators {
		if pins[e.TLS] {
			return ErrKeyTwice
		}
		pins[e.TLS] = true
	}
	if pins[Pin{}] {
		return ErrKey
	}
	return nil
}

var calendarName = regexp.MustCompile(`^[a-z-]{2,16}$`)

func (p Policy) check() error {
	switch {
	case p.TermDays < 1 || p.TermDays > 731, // two years and a day, as the registry accepts
		p.LegalBasisEnds.IsZero(),
		p.TimeZone != "Europe/Amsterdam",
		!calendarName.MatchString(p.Calendar),
		p.AnswerDays < 1 || p.AnswerDays > 60,
		p.DailyBudget < 1, p.MonthlyBudget < p.DailyBudget, p.ReportReserve < 0,
		p.DailySignals < 0, p.DailyActs < 0:
		return ErrPolicy
	}
	return nil
}

// Follows tells whether m may take the place of prev, the highest version that
// the reader has seen. Both are manifests that were opened.
func (m *Manifest) Follows(prev *Manifest) error {
	if err := checkFollows(m.Dep, prev.Dep, m.Version, prev.Version, m.Previous, prev.Hash); err != nil {
		return err
	}
	for i, was := range prev.Epochs {
		is, ok := find(m.Epochs, func(e Epoch) bool { return e.Number == was.Number })
		if !ok || was.Closed() && !is.Closed() || was.State == EpochCompromised && is.State != EpochCompromised {
			return at(ErrEpochGone, "epochs of the version before", i)
		}
	}
	open := m.Open()
	for i, was := range prev.Sharings {
		is, ok := m.Sharing(was.Epoch, was.Cohort)
		switch {
		case !ok && slices.ContainsFunc(open, func(e Epoch) bool { return e.Number == was.Epoch }):
			// Gone now, it could come back later with another key.
			return at(ErrSharingGone, "sharings of the version before", i)
		case !ok:
		case !bytes.Equal(is.Commitments[0], was.Commitments[0]):
			return at(ErrPublicKey, "sharings of the version before", i)
		case is.Number < was.Number, is.Number == was.Number && !slices.EqualFunc(is.Points(), was.Points(), bytes.Equal):
			return at(ErrSharingNumber, "sharings of the version before", i)
		}
	}
	return checkRevived(prev.Registry.ReceiptKeys, m.Registry.ReceiptKeys)
}

// Replaces is Follows for a reader that may have seen nothing yet, or this very
// manifest.
func (m *Manifest) Replaces(seen *Manifest) error {
	if seen == nil || m.Hash() == seen.Hash() {
		return nil
	}
	return m.Follows(seen)
}

func checkFollows(dep, prevDep string, version, prevVersion uint64, previous api.Hash, prevHash func() api.Hash) error {
	switch {
	case dep != prevDep:
		return ErrDeployment
	case version <= prevVersion:
		return ErrVersion
	case version == prevVersion+1 && previous != prevHash():
		return ErrPrevious
	}
	return nil
}

// checkRevived keeps revoked keys listed: one that was left out could come back
// with the version after.
func checkRevived(was, is []Key) error {
	for _, old := range was {
		if k, ok := find(is, func(k Key) bool { return k.ID == old.ID }); old.Revoked && !(ok && k.Revoked) {
			return ErrRevived
		}
	}
	return nil
}

const maxText = 200 // runes of a name

func plainText(s string) bool {
	return s != "" && utf8.ValidString(s) && utf8.RuneCountInString(s) <= maxText && strings.TrimSpace(s) == s &&
		!strings.ContainsFunc(s, unicode.IsControl)
}

func plainURL(s string, schemes ...string) bool {
	u, err := url.Parse(s)
	return err == nil && slices.Contains(schemes, u.Scheme) && u.Hostname() != "" && u.User == nil && u.Opaque == "" &&
		!strings.ContainsAny(s, "?#") && !strings.HasSuffix(s, "/") && u.String() == s
}

// A Pin is the SHA-256 of a SubjectPublicKeyInfo: what a TLS key is known by.
type Pin [32]byte

// MarshalText writes 64 lower-case hexadecimal digits.
func (p Pin) MarshalText() ([]byte, error) { return api.Hash(p).MarshalText() }

// UnmarshalText reads what MarshalText writes.
func (p *Pin) UnmarshalText(text []byte) error { return encoding.ParseHex(p[:], text) }

func (p Pin) String() string { return api.Hash(p).String() }
