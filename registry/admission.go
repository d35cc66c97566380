// SPDX-License-Identifier: EUPL-1.2

package registry

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/manifest"
)

// How far a statement's or an act's issue may lie from the registry's clock: a
// gateway's queue may be a month old, its clock a little fast.
const (
	MaxAge   = 30 * 24 * time.Hour
	maxAhead = 10 * time.Minute
)

// Admission judges, before any transaction, whether a party may say what it
// says: form, signature, clock and policy. It holds no state.
type Admission struct {
	Manifest  *manifest.Manifest
	Directory *manifest.Directory
	Clock
	Restores []Restore // of the store
}

// ErrClock says that the clock is held; see Clock.
var ErrClock = errors.New("registry: the clock is more than a day ahead of all that was seen; see docs/operations.md")

// heldFor is when to ask again while the clock is held.
const heldFor = time.Minute

var errUser = errors.New("registry: user is 8 to 32 letters, digits, dashes and underscores: a pseudonym")

// Statement admits a submission from the party that sent it, and returns what it
// says. Every refusal is an *api.Error. With a refusal the statement is returned all
// the same if it can be read and is the sender's: what is stored already, byte for
// byte, is answered whatever has changed since.
func (a Admission) Statement(from api.PartyID, sub api.Submission) (api.Statement, error) {
	if len(sub.Signed.Signed) > api.MaxStatement {
		return api.Statement{}, api.Refuse(api.CodeTooLarge, nil)
	}
	if !api.ValidUser(sub.User) {
		return api.Statement{}, api.Refuse(api.CodeMalformed, errUser)
	}
	s, err := api.ParseStatement(sub.Signed.Signed)
	if err != nil {
		return api.Statement{}, api.Refuse(api.CodeMalformed, err)
	}
	if err := a.own(from, s.Dep, s.Party); err != nil {
		return api.Statement{}, err
	}
	return s, a.statement(s, sub)
}

func (a Admission) statement(s api.Statement, sub api.Submission) error {
	again := MayLack(a.Restores, s.Issued)
	if err := a.signed(s.Party, sub.Signed, s.KeyID, s.Issued, again); err != nil {
		return err
	}
	if err := a.inForce(); err != nil {
		return err
	}
	if s.Expires.Compare(a.Day) <= 0 || s.Expires.Compare(a.Day.AddDate(2, 0, 1)) > 0 {
		return api.Refuse(api.CodeExpires, nil)
	}
	if !a.epochs(s, again) {
		return api.Refuse(api.CodeEpoch, fmt.Errorf("registry: %d faces, not of the open epochs", len(s.Faces)))
	}
	if len(sub.Faces) != len(s.Faces) {
		return api.Refuse(api.CodeFaces, nil)
	}
	for i, f := range s.Faces {
		sealed := sub.Faces[i]
		if len(sealed.Card) > api.MaxCard || len(sealed.Keybox) > api.MaxKeybox {
			return api.Refuse(api.CodeTooLarge, nil)
		}
		if sha256.Sum256(sealed.Card) != f.Card || sha256.Sum256(sealed.Keybox) != f.Keybox {
			return api.Refuse(api.CodeFaces, nil)
		}
	}
	return nil
}

// epochs tells whether a statement has a face in every open epoch and in no other. One
// that a restored store may lack was right when it was signed; now it must match.
func (a Admission) epochs(s api.Statement, again bool) bool {
	open := a.Manifest.Open()
	if len(open) > 0 && again {
		known := func(f api.Face) bool { // and safe to have again
			return slices.ContainsFunc(a.Manifest.Epochs, func(e manifest.Epoch) bool {
				return e.Number == f.Epoch && e.State != manifest.EpochCompromised
			})
		}
		matches := func(f api.Face) bool { return f.Epoch == open[0].Number }
		return slices.ContainsFunc(s.Faces, matches) && !slices.ContainsFunc(s.Faces, func(f api.Face) bool { return !known(f) })
	}
	return len(open) > 0 && slices.EqualFunc(s.Faces, open, func(f api.Face, e manifest.Epoch) bool { return f.Epoch == e.Number })
}

// Act admits an act from the party that sent it, and returns what it says, with a
// refusal too, as Statement does. Without a manifest or legal basis in force an answer
// is kept out as a statement is, but a withdrawal is not: neither may keep a signal in.
func (a Admission) Act(from api.PartyID, req api.ActRequest) (api.Act, error) {
	if !api.ValidUser(req.User) {
		return api.Act{}, api.Refuse(api.CodeMalformed, errUser)
	}
	signed := req.Signed
	if len(signed.Signed) > api.MaxStatement {
		return api.Act{}, api.Refuse(api.CodeTooLarge, nil)
	}
	act, err := api.ParseAct(signed.Signed)
	if err != nil {
		return api.Act{}, api.Refuse(api.CodeMalformed, err)
	}
	if err := a.own(from, act.Dep, act.Party); err != nil {
		return api.Act{}, err
	}
	return act, a.act(act, signed)
}

func (a Admission) act(act api.Act, signed api.Signed) error {
	if err := a.signed(act.Party, signed, act.KeyID, act.Issued, false); err != nil {
		return err
	}
	switch act.Act {
	case api.ActWithdraw:
		if act.Body != api.ReasonEnded && act.Body != api.ReasonMistake || !act.Match.IsZero() || !act.OtherSID.IsZero() {
			return api.Refuse(api.CodeMalformed, errors.New("registry: a withdrawal's body is its reason, and it names no match"))
		}
		return nil
	case api.ActAnswer:
		if !api.Answer(act.Body).Known() || act.Match.IsZero() || act.OtherSID.IsZero() {
			return api.Refuse(api.CodeMalformed, errors.New("registry: an answer's body is one of four words, and it names a match and a signal in it"))
		}
		return a.inForce()
	case api.ActHandover:
		given, err := api.ParseHandover(act.Body)
		if err != nil || given.To == act.Party || !act.Match.IsZero() || !act.OtherSID.IsZero() {
			return api.Refuse(api.CodeMalformed, errors.New("registry: a handover's body is another party and a day, or nothing, and it names no match"))
		}
		if given.IsZero() {
			return nil // like a withdrawal, it only takes away
		}
		if _, listed := a.Directory.Party(given.To); !listed {
			return api.Refuse(api.CodeHandover, errors.New("registry: a handover to nobody in the directory"))
		}
		if given.Until.Compare(a.Day) < 0 || given.Until.Compare(a.Day.AddDate(0, 0, api.MaxHandoverDays)) > 0 {
			return api.Refuse(api.CodeExpires, nil)
		}
		return a.inForce()
	}
	return api.Refuse(api.CodeUnsupported, nil)
}

// Ends is when the registry takes no more signals: when the manifest is no longer in
// force, or when the legal basis ends, whichever is first.
func Ends(m *manifest.Manifest) time.Time {
	if ends := m.Policy.LegalBasisEnds; !ends.IsZero() && ends.In(encoding.Amsterdam).Before(m.NotAfter) {
		return ends.In(encoding.Amsterdam).Add(-1) // from this day on
	}
	return m.NotAfter
}

// EndOf is the first day on which a signal no longer lives: its own, or that on which
// the legal basis ends.
func (a Admission) EndOf(s Signal) encoding.Date {
	if ends := a.Manifest.Policy.LegalBasisEnds; !ends.IsZero() && ends.Compare(s.Expires) < 0 {
		return ends
	}
	return s.Expires
}

// Sunset tells whether the legal basis has ended: no signal lives any more.
func (a Admission) Sunset() bool { return SunsetOn(a.Manifest, a.Day) }

// SunsetOn tells whether it has ended by a day.
func SunsetOn(m *manifest.Manifest, day encoding.Date) bool {
	ends := m.Policy.LegalBasisEnds
	return !ends.IsZero() && day.Compare(ends) >= 0
}

// Witnesses tells whether what a party has signed shows the time that the clock shows.
func (a Admission) Witnesses(party api.PartyID, signed api.Signed, key encoding.KeyID, issued time.Time) bool {
	public, ok := a.Directory.SignKey(party, key, a.Now)
	return ok && signed.Verify(public) && a.Says.Sub(issued).Abs() <= maxAhead
}

// inForce checks what must be in force for signals to come and matches to go on.
func (a Admission) inForce() error {
	if a.Held {
		return api.RefuseFor(api.CodeUnavailable, ErrClock, heldFor)
	}
	if a.Now.After(a.Manifest.NotAfter) || a.Now.After(a.Directory.NotAfter) {
		return api.Refuse(api.CodeUnavailable, errors.New("registry: the manifest or the directory is no longer in force"))
	}
	if a.Sunset() {
		return api.Refuse(api.CodeLegalBasis, nil)
	}
	return nil
}

// own checks that a statement or act is for this deployment and of its sender.
func (a Admission) own(from api.PartyID, dep string, party api.PartyID) error {
	if dep != a.Manifest.Dep {
		return api.Refuse(api.CodeDeployment, nil)
	}
	if party != from {
		return api.Refuse(api.CodeForbidden, nil)
	}
	return nil
}

// signed checks time and signature, which statements and acts have in common. What is
// sent again to a restored store is as old as it is, and so may its key be. While the
// clock is held nothing is told by the time: a withdrawal is taken whenever it was signed.
func (a Admission) signed(party api.PartyID, signed api.Signed, key [8]byte, issued time.Time, again bool) error {
	if !a.Held && (!again && issued.Before(a.Now.Add(-MaxAge)) || issued.After(a.Now.Add(maxAhead))) {
		return api.Refuse(api.CodeIssued, nil)
	}
	find := a.Directory.SignKey
	if again {
		find = a.Directory.VerifyKey
	}
	public, ok := find(party, key, a.Now)
	if !ok || !signed.Verify(public) {
		return api.Refuse(api.CodeSignature, nil)
	}
	return nil
}
