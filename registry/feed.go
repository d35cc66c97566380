// SPDX-License-Identifier: EUPL-1.2

package registry

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
)

// Deliver reads a party's feed behind a cursor, at most max events, and waits up
// to wait for the first. The cursor acknowledges everything before it. An empty
// cursor, or one of another incarnation, starts at the beginning of the feed: at
// least once, never skipped. Who comes with a cursor of an earlier incarnation is told
// what the store may lack, at once.
//
// Cards, statements and answers are put in here, from the signals and the match as
// they stand now: an event of a signal that has since ended comes without them, and an
// event of a revision or answer that has since been followed comes with the newer one.
func Deliver(ctx context.Context, store Store, party api.PartyID, cursor string, max int, wait time.Duration, now time.Time) (api.Events, error) {
	incarnation := store.Incarnation()
	after := parseCursor(incarnation, cursor)
	if after > 0 {
		store.Acknowledge(party, after)
	}
	lacks := lacksFor(store, cursor)
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if wait > 0 && lacks.IsZero() {
		if err := store.Wait(waiting, party, after); err != nil && waiting.Err() == nil {
			return api.Events{}, err
		}
	}
	events, last, err := store.Events(ctx, party, after, max)
	if err != nil {
		return api.Events{}, err
	}
	out := api.Events{Items: make([]api.Event, 0, len(events)), Next: formatCursor(incarnation, last), Lacks: lacks, Incarnation: incarnation[:]}
	for _, e := range events {
		if back, err := cameBack(ctx, store, e); err != nil {
			return api.Events{}, err
		} else if back {
			continue
		}
		item, err := present(ctx, store, e, Today(now))
		if err != nil {
			return api.Events{}, err
		}
		out.Items = append(out.Items, item)
	}
	return out, nil
}

// cameBack tells whether an event says that a signal left which is in the match again: at
// a store that was restored the clock can end what has been renewed, until the renewal
// comes again. That it is there is told behind this.
func cameBack(ctx context.Context, store Store, e Event) (bool, error) {
	if e.Kind != api.EventLeft || len(store.Restores()) == 0 {
		return false, nil
	}
	match, err := store.Match(ctx, e.Idx)
	return slices.Contains(match.Members, e.Other) && slices.Contains(match.Members, e.Recipient), err
}

func present(ctx context.Context, store Store, e Event, today encoding.Date) (api.Event, error) {
	out := api.Event{
		ID: e.ID, Kind: e.Kind, Match: e.Match, Epoch: e.Epoch,
		Other: api.EventOther{Party: e.Other.Party, SID: e.Other.SID, Rev: e.Rev},
		Own:   api.EventOwn{SID: e.Recipient.SID},
	}
	if e.Kind == api.EventLeft {
		out.Other.Rev, out.Mistake = 0, e.Rev == ByMistake
	}
	if e.Recipient.SID.IsZero() {
		return offered(ctx, store, e, out, today)
	}
	own, ok, err := store.Signal(ctx, e.Idx, e.Recipient.Party)
	if err != nil {
		return api.Event{}, err
	}
	if !ok || own.SID != e.Recipient.SID || !own.Live(today) {
		return out, nil // the recipient's own has ended: it has no claim to a card
	}
	if face, ok := own.Face(e.Epoch); ok {
		out.Own.Signed, out.Own.Keybox = own.Signed, face.Keybox
	}
	switch e.Kind {
	case api.EventJoined, api.EventCard, api.EventAnswer, api.EventHandover:
	default:
		return out, nil
	}
	other, ok, err := store.Signal(ctx, e.Idx, e.Other.Party)
	if err != nil || !ok || other.SID != e.Other.SID || !other.Live(today) {
		return out, err
	}
	if e.Kind == api.EventHandover {
		out.Other.TakesOver = other.TakesOver
		return out, nil
	}
	if e.Kind == api.EventAnswer {
		match, err := store.Match(ctx, e.Idx)
		if a, has := match.Answer(e.Other, e.Recipient); has {
			out.Other.Rev, out.Answer = a.Number, a.Word
		}
		return out, err
	}
	if face, has := other.Face(e.Epoch); has {
		out.Other.Rev, out.Other.Card = other.Rev, face.Card
	}
	return out, nil
}

// offered puts into the event of an offer until when it stands, if it does.
func offered(ctx context.Context, store Store, e Event, out api.Event, today encoding.Date) (api.Event, error) {
	giver, ok, err := store.Signal(ctx, e.Idx, e.Other.Party)
	if err != nil || !ok || giver.SID != e.Other.SID || !giver.Live(today) {
		return out, err
	}
	if giver.Offer.Stands(e.Recipient.Party, today) {
		out.Until = giver.Offer.Until
	}
	return out, nil
}

// A cursor is 32 hexadecimal digits: the start of the incarnation, and a position
// in the feed. Parties take it as opaque.
func formatCursor(incarnation [16]byte, position uint64) string {
	return hex.EncodeToString(binary.BigEndian.AppendUint64(incarnation[:8:8], position))
}

func parseCursor(incarnation [16]byte, cursor string) uint64 {
	raw, err := hex.DecodeString(cursor)
	if err != nil || len(raw) != 16 || [8]byte(raw) != [8]byte(incarnation[:8]) {
		return 0
	}
	return binary.BigEndian.Uint64(raw[8:])
}
