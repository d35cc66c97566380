// SPDX-License-Identifier: EUPL-1.2

package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/seinhuis/seinhuis/api/edge"
	"github.com/seinhuis/seinhuis/gateway"
)

const (
	mediaStream    = "text/event-stream"
	streamsOfKey   = 4 // at a time
	streamsOfParty = 64
	streamWrite    = 30 * time.Second // for a client to take what it is sent
	streamRetry    = 5 * time.Second  // after which a client comes again
)

// heartbeat is how often a stream says something, for who stands between to see that
// it is alive. A test does not wait so long.
var heartbeat = 15 * time.Second

const streamInContext contextKey = 1

// wantsStream tells whether messages are asked for as server-sent events.
func wantsStream(r *http.Request) bool {
	return edge.Accepts(r, mediaStream) && !edge.Accepts(r, "application/json")
}

// streams are how many are open, of each party and of each key: a key that comes back
// again and again leaves the other keys theirs, and a party the other parties.
type streams struct {
	mu   sync.Mutex
	open map[string]int
}

func (s *streams) begin(party, who string) (end func(), ok bool) {
	most := map[string]int{party: streamsOfParty, party + " " + who: streamsOfKey}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = map[string]int{}
	}
	for of, n := range most {
		if s.open[of] >= n {
			return nil, false
		}
	}
	for of := range most {
		s.open[of]++
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for of := range most {
			if s.open[of]--; s.open[of] == 0 {
				delete(s.open, of)
			}
		}
	}, true
}

// A stream is the answer that goes on: messages as server-sent events (the HTML
// standard, section 9.2), until the client, the access or the gateway ends.
type stream struct {
	s    *server
	ctx  context.Context // of the access
	a    *gateway.Access
	from uint64
}

// VisitLijstBerichtenResponse writes the stream.
func (st stream) VisitLijstBerichtenResponse(w http.ResponseWriter) error {
	end, ok := st.s.streams.begin(string(st.a.Party.ID()), st.a.Who)
	if !ok {
		w.Header().Set("Retry-After", "30")
		return &problemStreams
	}
	defer end()
	ctx, cancel := st.s.waiting(st.ctx)
	defer cancel()
	control := http.NewResponseController(w)
	control.SetReadDeadline(time.Time{}) // the server's would end the request's context
	w.Header().Set("Content-Type", mediaStream)
	w.Header().Set("X-Accel-Buffering", "no") // some proxies would wait for more
	w.WriteHeader(http.StatusOK)
	text := fmt.Sprintf("retry: %d\n\n", streamRetry.Milliseconds())
	for {
		control.SetWriteDeadline(time.Now().Add(streamWrite))
		if _, err := w.Write([]byte(text)); err != nil || control.Flush() != nil {
			return nil // the client is gone, and comes again
		}
		var err error
		if text, err = st.next(ctx); err != nil {
			if ctx.Err() == nil {
				st.s.log.Error("request failed", "route", "/v1/berichten", "cause", err)
			}
			return nil // what is written cannot be taken back
		}
	}
}

var errEnded = errors.New("rest: the stream has ended")

// next waits for messages, or for the time to say that there are none.
func (st *stream) next(ctx context.Context) (string, error) {
	waiting, stop := context.WithTimeout(ctx, heartbeat)
	defer stop()
	list, err := st.a.AwaitMessages(waiting, st.from, defaultCount)
	if err != nil {
		return "", err
	}
	if ctx.Err() != nil || !st.a.Valid() {
		return "", errEnded
	}
	if len(list) == 0 {
		return ":\n\n", nil
	}
	var b strings.Builder
	for _, m := range list {
		body, err := json.Marshal(messageOf(m))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "id: %s\nevent: bericht\ndata: %s\n\n", st.a.Cursor(m.Seq), body)
		st.from = m.Seq
	}
	return b.String(), nil
}
