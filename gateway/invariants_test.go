// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"errors"
	"fmt"
	"slices"
)

// Broken lists what in a party's store does not fit together: what a crash between two
// batches, or half a batch, would leave. It holds as long as nothing has been swept.
func Broken(p *Party) (list []string, err error) {
	v, release := p.g.store.snapshot()
	defer release()
	wrong := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	has := func(key []byte) bool {
		_, closer, err := v.r.Get(key)
		if err == nil {
			closer.Close()
		}
		return err == nil
	}
	owners := map[string]int{} // by sid
	withdrawn := map[string]bool{}
	at, err := get[feedState](v, p.key.feed())
	if err != nil && !errors.Is(err, errAbsent) {
		return nil, err
	}
	messages, events := uint64(0), uint64(0)
	err = errors.Join(
		scan(v, p.key.table(tableOwner), nil, false, func(key []byte, _ struct{}) (bool, error) {
			sid := key[17:33]
			owners[string(sid)]++
			reg, err := get[Registration](v, p.key.registration(idAt(key)))
			if err != nil || string(reg.SID[:]) != string(sid) {
				wrong("an owner of %x is no registration of it (%v)", sid, err)
			}
			return true, nil
		}),
		scan(v, p.key.table(tableJob), nil, false, func(_ []byte, job Job) (bool, error) {
			if job.Kind == JobWithdraw {
				withdrawn[string(job.SID[:])] = true
			}
			if job.Kind == JobAnswer {
				if m, err := get[Match](v, p.key.match(job.Match)); err != nil || !slices.ContainsFunc(m.Others, func(o Member) bool { return o.Asked.Word == job.Answer }) {
					wrong("job %s answers nothing that is asked (%v)", job.ID, err)
				}
				return true, nil
			}
			if job.Kind == JobHandover {
				if s, err := get[Signal](v, p.key.signal(job.SID)); err == nil && s.Given.Job.IsZero() && !job.Again {
					wrong("job %s gives what nobody gave", job.ID)
				}
				return true, nil
			}
			if !has(p.key.registration(job.Registration)) {
				wrong("job %s is for no registration", job.ID)
			}
			if (job.Prepared != nil) == (len(job.Identity) > 0) && job.Kind == JobSignal {
				wrong("job %s is at two stages", job.ID)
			}
			return true, nil
		}),
		scan(v, p.key.table(tableRegistration), nil, false, func(_ []byte, reg Registration) (bool, error) {
			switch {
			case reg.State == StateLost != has(p.lostRow(reg)):
				wrong("registration %s is %s, and is not listed so", reg.ID, reg.State)
			case reg.State == StateLost && reg.Loss.At.IsZero():
				wrong("registration %s is lost, and nothing is known of how", reg.ID)
			case reg.State == StateQueued && !has(p.key.job(reg.Job)):
				wrong("registration %s waits for no job", reg.ID)
			case reg.State.Stands() && reg.Into.IsZero() && !has(p.key.signal(reg.SID)):
				wrong("registration %s stands without a signal", reg.ID)
			case reg.State.Stands() && reg.Into.IsZero() && !has(p.key.owner(reg.SID, reg.ID)):
				wrong("registration %s does not own its signal", reg.ID)
			}
			if !has(p.ownerRow(reg.Owner, reg.ID)) {
				wrong("registration %s is not among those of its owner", reg.ID)
			}
			return true, nil
		}),
		scan(v, p.key.table(tableSignal), nil, false, func(_ []byte, s Signal) (bool, error) {
			if owners[string(s.SID[:])] == 0 && !withdrawn[string(s.SID[:])] {
				wrong("signal %s is nobody's, and stays", s.SID)
			}
			if len(s.Receipt.Signed) == 0 {
				wrong("signal %s has no receipt", s.SID)
			}
			return true, nil
		}),
		scan(v, p.key.table(tableMessage), nil, false, func(_ []byte, msg Message) (bool, error) {
			if messages++; msg.Seq != messages {
				wrong("message %d is in place %d", msg.Seq, messages)
			}
			if seq, err := get[uint64](v, p.key.event(msg.ID)); err != nil || seq != msg.Seq {
				wrong("message %d is not found by its event (%v)", msg.Seq, err)
			}
			if msg.Problem == "" && !msg.Other.Card.IsZero() && !has(p.key.matchID(msg.Match)) {
				wrong("message %d is in no match", msg.Seq)
			}
			return true, nil
		}),
		scan(v, p.key.table(tableEvent), nil, false, func([]byte, uint64) (bool, error) { events++; return true, nil }),
		scan(v, p.key.table(tableMatch), nil, false, func(_ []byte, m Match) (bool, error) {
			if !has(p.key.matchOn(m.SID, m.ID)) || !has(p.key.matchID(m.Match)) {
				wrong("match %s is not found", m.ID)
			}
			return true, nil
		}),
		scan(v, p.key.table(tableReport), nil, false, func(_ []byte, r Report) (bool, error) {
			for i, o := range r.Persons {
				if !o.Registration.IsZero() && !has(p.key.registration(o.Registration)) {
					wrong("person %d of report %s has no registration", i, r.ID)
				}
			}
			if !has(p.key.reportKey(p.g.store.index.of("report", p.key, r.Reference))) {
				wrong("report %s is not found by its reference", r.ID)
			}
			return true, nil
		}),
		scan(v, p.key.table(tableTarget), nil, false, func(_ []byte, t Target) (bool, error) {
			dead := 0
			err := scan(v, p.key.deadLetters(t.ID), nil, false, func([]byte, DeadLetter) (bool, error) { dead++; return true, nil })
			if t.Cursor > at.Seq || dead != t.Dead {
				wrong("target %s is at %d of %d, with %d dead letters that are counted as %d", t.ID, t.Cursor, at.Seq, dead, t.Dead)
			}
			return true, err
		}),
	)
	if messages != at.Seq || events != at.Seq {
		wrong("%d messages and %d events, and the feed is at %d", messages, events, at.Seq)
	}
	return list, err
}

// Logged tells whether the log of access has an event of an object.
func (p *Party) Logged(event LogEvent, object string) (found bool) {
	scan(p.g.store.view, p.key.table(tableLog), nil, false, func(_ []byte, row LogRow) (bool, error) {
		found = row.Record.Event == string(event) && row.Record.ObjectID == object
		return !found, nil
	})
	return found
}
