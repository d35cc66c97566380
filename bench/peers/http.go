// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/api/edge"
	"github.com/seinhuis/seinhuis/api/exchange"
	"github.com/seinhuis/seinhuis/audit"
	"github.com/seinhuis/seinhuis/crypto/atrest"
	"github.com/seinhuis/seinhuis/keys"
	"github.com/seinhuis/seinhuis/manifest"
	product "github.com/seinhuis/seinhuis/registry"
)

type serveAt struct {
	Dep         string
	Now         time.Time // on the clock of the benchmark
	NotAfter    time.Time
	Directory   string // file
	Cert, Key   string // files
	Connections int
	Sizes       sizesOf
}

// signals is the one operation that is measured.
type signals struct {
	exchange.StrictServerInterface
	submit func(context.Context, api.PartyID, api.Submission) (api.Accepted, error)
}

func (s signals) RegisterSignal(ctx context.Context, r exchange.RegisterSignalRequestObject) (exchange.RegisterSignalResponseObject, error) {
	accepted, err := s.submit(ctx, exchange.PartyOf(ctx), *r.Body)
	return exchange.RegisterSignal201JSONResponse{Body: accepted}, err
}

// serve answers POST /v1/signals as the product does: the same listener, handlers
// and admission, the same receipt. Only what stores is PostgreSQL, and no row is
// sealed.
func (g *registry) serve(s serveAt) (url string, err error) {
	text, err := os.ReadFile(s.Directory)
	if err != nil {
		return "", err
	}
	adm := product.Admission{
		Manifest: &manifest.Manifest{
			Dep: s.Dep, NotAfter: s.NotAfter, Epochs: []manifest.Epoch{{Number: 1, State: manifest.EpochOpen}},
		},
		Directory: new(manifest.Directory), Clock: product.Clock{Says: s.Now, Now: s.Now, Day: product.Today(s.Now)},
	}
	if err := json.Unmarshal(text, adm.Directory); err != nil {
		return "", err
	}
	cert, err := keys.Clear.ReadTLS(s.Cert, s.Key)
	if err != nil {
		return "", err
	}
	_, sign, err := ed25519.GenerateKey(nil)
	if err != nil {
		return "", err
	}
	conns, err := g.connectAll(s.Connections)
	if err != nil {
		return "", err
	}
	free := make(chan querier, len(conns))
	for _, c := range conns {
		free <- c
	}
	other := s.Sizes.blanks()
	submit := func(ctx context.Context, from api.PartyID, sub api.Submission) (api.Accepted, error) {
		st, err := adm.Statement(from, sub)
		if err != nil {
			return api.Accepted{}, err
		}
		row, leaf, err := g.prepare(st, sub, s.Now)
		if err != nil {
			return api.Accepted{}, err
		}
		conn := <-free
		others, err := row.submit(ctx, conn, blanks{other.match, other.event, leaf.row}, leaf.id)
		free <- conn
		if err == nil && others < 0 {
			err = fmt.Errorf("a new signal was not taken: %d", others)
		}
		if err != nil {
			return api.Accepted{}, err
		}
		receipt, err := api.Receipt{
			Dep: s.Dep, Party: st.Party, SID: st.SID, Rev: st.Rev, Statement: sub.Hash(), Others: uint64(others),
			Leaf: leaf.hash, Time: s.Now,
		}.Encode()
		if err != nil {
			return api.Accepted{}, err
		}
		return api.Accepted{SID: st.SID, Rev: st.Rev, Receipt: api.Sign(sign, receipt)}, nil
	}
	service := exchange.Service(slog.New(slog.DiscardHandler), func(r *http.Request, _ *edge.Operation) (api.PartyID, error) {
		from, ok := adm.Directory.ByTLS(edge.PeerKey(r), s.Now)
		if !ok {
			return "", api.Refuse(api.CodeUnauthenticated, nil)
		}
		return from.ID, nil
	})
	router := exchange.Router(service, signals{submit: submit}, func(op *edge.Operation) bool { return op.ID == "registerSignal" })
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	known := func(spki [32]byte) bool { _, ok := adm.Directory.ByTLS(spki, s.Now); return ok }
	server := &http.Server{Handler: edge.Headers(router), TLSConfig: edge.ServerTLS(func() tls.Certificate { return cert }, known)}
	go edge.Serve(context.Background(), server, ln) // until the process ends
	return "https://" + ln.Addr().String(), nil
}

type logLeaf struct {
	id   pgtype.UUID
	hash api.Hash
	row  []byte
}

// prepare makes the rows of a submission, as long as sealed ones.
func (g *registry) prepare(st api.Statement, sub api.Submission, now time.Time) (row, logLeaf, error) {
	seal := func(b []byte, err error) ([]byte, error) { return append(b, make([]byte, atrest.Overhead)...), err }
	leaf, err := audit.NewLeaf(audit.Record{
		Event: "signal.register", Action: audit.Create, Outcome: audit.Success, Time: now.UTC().Truncate(time.Millisecond),
		Party: string(st.Party), ObjectType: "signal", ObjectID: st.SID.String(), System: "registry",
	})
	if err != nil {
		return row{}, logLeaf{}, err
	}
	l := logLeaf{hash: leaf.Hash()}
	l.id = id([16]byte(l.hash[:16]))
	if l.row, err = seal(product.LogEntry(leaf).MarshalBinary()); err != nil {
		return row{}, l, err
	}
	out := row{
		idx: id(g.keys.Idx(st.Faces[0].Epoch, st.Faces[0].Tag)), party: id(g.keys.Feed(st.Party)), sid: id(st.SID),
		expires: st.Expires.In(time.UTC),
	}
	out.sealed, err = seal(product.Signal{
		Statement: st, Signed: sub.Signed, Sealed: sub.Faces, Granted: product.Granted{Leaf: l.hash, Time: now},
	}.MarshalBinary())
	return out, l, err
}
