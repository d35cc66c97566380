// SPDX-License-Identifier: EUPL-1.2

package unusual

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/logging"
	"github.com/seinhuis/seinhuis/manifest"
)

var noon = time.Date(2027, 3, 4, 12, 0, 0, 0, time.UTC)

func id(i int) api.PartyID { return api.PartyID(fmt.Sprintf("nl-kvk:%08d", i)) }

// told is a watch, and what it tells.
type told struct {
	*Watch
	t   *testing.T
	log bytes.Buffer
	reg *prometheus.Registry
}

func newWatch(t *testing.T) *told {
	w := &told{t: t, reg: prometheus.NewRegistry()}
	w.Watch = New("registry", w.reg, logging.New(&w.log, slog.LevelInfo), WithoutSubmissions, NightlyBulk, AbovePeers, WithdrawnAfterMatch)
	return w
}

// wants holds that the log has told, since the last time, of these parties.
func (w *told) wants(kind Kind, parties ...api.PartyID) {
	w.t.Helper()
	var got []api.PartyID
	for line := range strings.Lines(w.log.String()) {
		var event struct {
			Msg, Kind string
			Party     api.PartyID
		}
		if err := json.Unmarshal([]byte(line), &event); err != nil || event.Msg != "unusual use" || event.Kind != string(kind) {
			w.t.Errorf("logged %s", line)
		}
		got = append(got, event.Party)
	}
	w.log.Reset()
	if !slices.Equal(got, parties) {
		w.t.Errorf("told of %v, want %v", got, parties)
	}
}

func TestNight(t *testing.T) {
	w := newWatch(t)
	policy := manifest.Policy{DailyBudget: 400}
	at := func(day, hour, minute int) time.Time { // Amsterdam is an hour ahead
		return time.Date(2027, 3, day, hour-1, minute, 0, 0, time.UTC)
	}
	granted := manifest.Party{ID: id(9), Grants: []manifest.Grant{{From: at(1, 0, 0), Until: at(9, 0, 0), Daily: 1000, Monthly: 1000}}}
	for range 11 {
		w.Count(manifest.Party{ID: id(1)}, 10, at(5, 0, 0))
		w.Count(manifest.Party{ID: id(3)}, 10, at(4, 23, 59)) // the evening
		w.Count(manifest.Party{ID: id(4)}, 10, at(5, 6, 0))   // the morning
		w.Count(granted, 10, at(5, 3, 0))
	}
	w.Count(manifest.Party{ID: id(2)}, 100, at(5, 5, 59))
	w.Night(policy, at(5, 5, 59))
	w.wants(NightlyBulk)
	w.Night(policy, at(5, 6, 0))
	w.wants(NightlyBulk, id(1))
	w.Night(policy, at(5, 7, 0))
	w.wants(NightlyBulk)
	w.Count(manifest.Party{ID: id(1)}, 60, at(6, 1, 0))
	w.Count(manifest.Party{ID: id(1)}, 60, at(7, 1, 0)) // two nights are two
	w.Night(policy, at(7, 12, 0))
	w.wants(NightlyBulk)
	families, err := w.reg.Gather()
	if err != nil || len(families) != 1 || families[0].GetName() != "seinhuis_registry_unusual_use_total" || len(families[0].GetMetric()) != 4 {
		t.Fatalf("%v (%v)", families, err)
	}
	for _, m := range families[0].GetMetric() {
		kind := Kind(m.GetLabel()[0].GetValue())
		if got, want := m.GetCounter().GetValue(), map[Kind]float64{NightlyBulk: 1}[kind]; got != want || len(m.GetLabel()) != 1 {
			t.Errorf("%s: counted %v, want %v; %d labels", kind, got, want, len(m.GetLabel()))
		}
	}
}

func TestPeers(t *testing.T) {
	day := noon.Truncate(24 * time.Hour)
	policy := manifest.Policy{DailyBudget: 700}
	d := &manifest.Directory{}
	for i := range 8 {
		kind := manifest.School
		if i >= 6 {
			kind = manifest.VeiligThuis
		}
		d.Parties = append(d.Parties, manifest.Party{ID: id(i), Kind: kind})
	}
	for name, c := range map[string]struct {
		done  []int // by party
		grant int   // of party 0
		want  []api.PartyID
	}{
		"ten_times_the_median":      {[]int{100, 5, 10, 15}, 0, nil},
		"in_any_order":              {[]int{100, 15, 5, 10}, 0, nil},
		"over_it":                   {[]int{101, 5, 10, 15}, 0, []api.PartyID{id(0)}},
		"too_few_others":            {[]int{500, 5, 10}, 0, nil},
		"who_does_nothing_is_none":  {[]int{500, 5, 10, 0, 0, 0}, 0, nil},
		"little":                    {[]int{70, 1, 1, 1}, 0, nil},
		"others_of_another_kind":    {[]int{101, 5, 10, 15, 0, 0, 500, 500}, 0, []api.PartyID{id(0)}},
		"with_a_grant":              {[]int{600, 5, 10, 15}, 500, nil},
		"above_the_grant":           {[]int{601, 5, 10, 15}, 500, []api.PartyID{id(0)}},
		"two_of_them":               {[]int{200, 5, 10, 15, 300, 10}, 0, []api.PartyID{id(0), id(4)}},
		"one_does_not_hide_another": {[]int{1000, 5, 10, 15, 10, 10}, 0, []api.PartyID{id(0)}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWatch(t)
			d.Parties[0].Grants = nil
			if c.grant > 0 {
				d.Parties[0].Grants = []manifest.Grant{{From: day.Add(-time.Hour), Until: day.Add(time.Hour), Daily: c.grant, Monthly: c.grant}}
			}
			done := map[api.PartyID]int{"nl-kvk:99999999": 1e6} // not in the directory any more
			for i, n := range c.done {
				done[id(i)] = n
			}
			w.Peers(done, d, policy, day)
			w.wants(AbovePeers, c.want...)
		})
	}
}

func TestSubmissions(t *testing.T) {
	usage := func(parties ...int) (u api.Usage) { // a hundred signals of each
		for _, n := range parties {
			u.Items = append(u.Items, api.PartyUsage{Party: id(n), Signals: 100, Acts: 1000})
		}
		return u
	}
	for epochs := range 3 {
		w, n := newWatch(t), max(1, epochs) // an epoch can have been closed since
		w.Submissions(Day{map[api.PartyID]int{
			id(1): n * 264, id(2): n*264 + 1, id(3): n * 64, id(4): n*64 + 1,
		}, usage(1, 2)}, Day{}, epochs)
		w.wants(WithoutSubmissions, id(2), id(4))

		// What is sent after midnight counts, but not for what was evaluated after it.
		w.Submissions(Day{map[api.PartyID]int{
			id(1): n * 464, id(2): n*464 + 1, id(3): n * 264, id(4): n*224 + 1, id(5): n * 65,
		}, usage(1, 2)}, Day{map[api.PartyID]int{id(4): n * 20, id(5): n * 500}, usage(1, 2, 3, 4, 5)}, epochs)
		w.wants(WithoutSubmissions, id(2), id(4), id(5))
	}
}
