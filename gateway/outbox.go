// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// mailsAtOnce is how many mails of a party are on their way at a time. Subscriptions
// have no such limit, so that one that hangs holds up no other.
const mailsAtOnce = 4

// An outbox is which targets of a party are being sent to.
type outbox struct {
	nudge // to look for what is due
	mu    sync.Mutex
	busy  map[ID]TargetKind
}

func newOutbox() outbox {
	return outbox{nudge: newNudge(), busy: map[ID]TargetKind{}}
}

// begin takes a target in hand, unless somebody has.
func (o *outbox) begin(t Target) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	mails := 0
	for _, kind := range o.busy {
		if kind == TargetMail {
			mails++
		}
	}
	if _, busy := o.busy[t.ID]; busy || t.Kind == TargetMail && mails >= mailsAtOnce {
		return false
	}
	o.busy[t.ID] = t.Kind
	return true
}

func (o *outbox) end(id ID) {
	o.mu.Lock()
	delete(o.busy, id)
	o.mu.Unlock()
	o.wake()
}

// deliver sends on what comes in, each target by itself.
func (p *Party) deliver(ctx context.Context) {
	var sending sync.WaitGroup
	defer sending.Wait()
	for ctx.Err() == nil {
		next, err := p.beginDeliveries(ctx, &sending)
		if err != nil {
			p.g.log.Error("delivery not begun", "party", string(p.id), "cause", err)
			next = lookAgain
		}
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
		case <-p.outbox.nudge:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// beginDeliveries begins what is due, and tells how long nothing else is.
func (p *Party) beginDeliveries(ctx context.Context, sending *sync.WaitGroup) (time.Duration, error) {
	now, next := p.g.now(), lookAgain
	v, release := p.g.store.snapshot()
	defer release()
	last, err := p.lastSeq(v)
	if err != nil {
		return 0, err
	}
	err = scan(v, p.key.table(tableTarget), nil, false, func(_ []byte, t Target) (bool, error) {
		due := t.due(now, last)
		switch {
		case due.IsZero():
		case due.After(now):
			next = min(next, due.Sub(now))
		case p.outbox.begin(t):
			sending.Go(func() {
				defer p.outbox.end(t.ID)
				p.deliverTo(ctx, t.ID)
			})
		}
		return true, nil
	})
	return next, err
}

// lastSeq is that of the last message in the inbox.
func (p *Party) lastSeq(v view) (uint64, error) {
	at, err := get[feedState](v, p.key.feed())
	if errors.Is(err, errAbsent) {
		return 0, nil
	}
	return at.Seq, err
}

// deliverTo sends to one target until nothing is due.
func (p *Party) deliverTo(ctx context.Context, id ID) {
	for ctx.Err() == nil {
		d, err := p.nextDelivery(id)
		if err == nil && d == nil {
			return
		}
		if err == nil {
			err = p.attempt(ctx, d)
		}
		if err != nil {
			p.g.log.Error("delivery not recorded", "party", string(p.id), "cause", err)
			sleep(ctx, lookAgain)
			return
		}
	}
}

// undelivered measures targets at the moment that somebody asks.
type undelivered struct {
	g   *Gateway
	age *prometheus.Desc // kind
	of  *prometheus.Desc // kind
}

func newUndelivered(g *Gateway) *undelivered {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("seinhuis_gateway_"+name, help, []string{"kind"}, nil)
	}
	return &undelivered{g,
		desc("undelivered_age_seconds", "Age of the oldest message that waits for a target that is on, by kind of target; 0 if none waits."),
		desc("dead_letters", "Messages that could not be delivered and are kept, by kind of target."),
	}
}

// Describe implements prometheus.Collector.
func (u *undelivered) Describe(ch chan<- *prometheus.Desc) { ch <- u.age; ch <- u.of }

// Collect implements prometheus.Collector.
func (u *undelivered) Collect(ch chan<- prometheus.Metric) {
	age, dead := map[TargetKind]time.Duration{}, map[TargetKind]int{}
	now := u.g.now()
	for _, p := range u.g.order {
		if err := p.measure(now, age, dead); err != nil {
			p.g.log.Error("delivery not measured", "party", string(p.id), "cause", err)
		}
	}
	for _, kind := range []TargetKind{TargetWebhook, TargetMail} {
		ch <- prometheus.MustNewConstMetric(u.age, prometheus.GaugeValue, age[kind].Seconds(), string(kind))
		ch <- prometheus.MustNewConstMetric(u.of, prometheus.GaugeValue, float64(dead[kind]), string(kind))
	}
}

func (p *Party) measure(now time.Time, age map[TargetKind]time.Duration, dead map[TargetKind]int) error {
	v, release := p.g.store.snapshot()
	defer release()
	last, err := p.lastSeq(v)
	if err != nil {
		return err
	}
	return scan(v, p.key.table(tableTarget), nil, false, func(_ []byte, t Target) (bool, error) {
		dead[t.Kind] += t.Dead
		if !t.behind(last) {
			return true, nil
		}
		err := scan(v, p.key.table(tableMessage), p.key.message(t.Cursor), false, func(_ []byte, msg Message) (bool, error) {
			age[t.Kind] = max(age[t.Kind], now.Sub(msg.Received))
			return false, nil
		})
		return true, err
	})
}
