// SPDX-License-Identifier: EUPL-1.2

package gateway_test

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
	"github.com/seinhuis/seinhuis/registry"
)

// The registry takes something and is lost. Before its answer arrives the feed has told of the
// restore, and all has been listed that is to be sent again. What the answer says is not there.
func TestAnAnswerOfARegistryThatIsLostMeanwhile(t *testing.T) {
	for name, c := range map[string]struct {
		path   string
		act    func(t *testing.T, a *gateway.Party, mine gateway.Status, m gateway.MatchStatus) error
		stands func(s registry.Signal, m registry.Match) bool
	}{
		"signal": {"/v1/signals", func(t *testing.T, a *gateway.Party, _ gateway.Status, _ gateway.MatchStatus) error {
			_, err := a.Signal(child(2), terms("jansen", "A-2"))
			return err
		}, func(_ registry.Signal, m registry.Match) bool { return m.ID.IsZero() }},
		"import": {"/v1/imports", func(t *testing.T, a *gateway.Party, _ gateway.Status, _ gateway.MatchStatus) error {
			addRows(t, a, begin(t, a, 1).ID, 1, rowsOf(2, 1))
			return nil
		}, func(_ registry.Signal, m registry.Match) bool { return m.ID.IsZero() }},
		"renewal": {"/v1/signals", func(t *testing.T, a *gateway.Party, mine gateway.Status, _ gateway.MatchStatus) error {
			_, err := a.Renew(mine.ID, gateway.Subject{}, gateway.Terms{})
			return err
		}, func(s registry.Signal, _ registry.Match) bool { return s.Rev == 2 }},
		"answer": {"/v1/acts", func(t *testing.T, a *gateway.Party, _ gateway.Status, m gateway.MatchStatus) error {
			_, err := a.Answer(m.Match.Match, "", api.AnswerWillCall, "")
			return err
		}, func(_ registry.Signal, m registry.Match) bool {
			return len(m.Answers) == 1 && m.Answers[0].Word == api.AnswerWillCall
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := gatewaytest.New(t, 2)
			h, list := meet(t, w, 2)
			a := h.Of(0)
			m := match(t, a, func(gateway.MatchStatus) bool { return true })
			w.Advance(30 * time.Hour)
			w.Backup("backup")
			reached, goOn := make(chan bool, 1), make(chan bool)
			var asked atomic.Bool
			w.Registry.OnAnswer(func(r *http.Request) {
				if r.URL.Path == c.path && asked.CompareAndSwap(false, true) {
					reached <- true
					<-goOn
				}
			})
			if err := c.act(t, a, list[0], m); err != nil {
				t.Fatal(err)
			}
			<-reached
			w.Restore("backup")
			eventually(t, "a feed", func() bool { return a.HasReadFeedOf(w.Matcher.Store.Incarnation()) })
			close(goOn)
			eventually(t, "all jobs", func() bool { jobs, err := a.Jobs(); return err == nil && len(jobs) == 0 })
			found := false
			err := w.Matcher.Store.Scan(t.Context(), registry.Idx{}, func(_ registry.Idx, signals []registry.Signal, m registry.Match) error {
				for _, s := range signals {
					found = found || s.Party == gatewaytest.Party(0) && c.stands(s, m)
				}
				return nil
			})
			if err != nil || !found {
				t.Errorf("what was taken is not there: %v", err)
			}
		})
	}
}

// What is sent again is answered by a registry that is lost meanwhile, too.
func TestAResendThatIsOvertaken(t *testing.T) {
	w := gatewaytest.New(t, 1)
	a := w.Run(0).Of(0)
	w.Backup("backup")
	w.Advance(2 * time.Hour)
	signal(t, a, child(1), terms("jansen", "A-1"))
	reached, goOn := make(chan bool, 1), make(chan bool)
	var asked atomic.Bool
	w.Registry.OnAnswer(func(r *http.Request) {
		if r.URL.Path == "/v1/signals" && asked.CompareAndSwap(false, true) {
			reached <- true
			<-goOn
		}
	})
	w.Restore("backup")
	<-reached
	w.Restore("backup")
	eventually(t, "a feed", func() bool { return a.HasReadFeedOf(w.Matcher.Store.Incarnation()) })
	close(goOn)
	eventually(t, "all jobs", func() bool { jobs, err := a.Jobs(); return err == nil && len(jobs) == 0 })
	found := 0
	err := w.Matcher.Store.Scan(t.Context(), registry.Idx{}, func(_ registry.Idx, signals []registry.Signal, _ registry.Match) error {
		found += len(signals)
		return nil
	})
	if err != nil || found != 1 {
		t.Errorf("%d signals are there: %v", found, err)
	}
}
