// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/crypto/seal"
	"github.com/seinhuis/seinhuis/keys"
	"github.com/seinhuis/seinhuis/logging"
)

// Files in a party's keys folder.
const (
	FileSign    = "sign.pem"
	FileHPKE    = "hpke.pem" // and hpke-*.pem: retired ones, that still open old keyboxes
	FileTLSKey  = "tls.pem"
	FileTLSCert = "tls.crt"
	FileToken   = "token"
)

// A Party is one party that the gateway serves. Its methods are what a
// professional can do; all of them are durable when they return.
type Party struct {
	id   api.PartyID
	key  partyKey
	card Card // the default; zero if there is none

	link string   // prefix of links into the case system; may be empty
	desk []string // addresses that are mailed of everything
	news string   // the link in mails; may be empty

	sign   ed25519.PrivateKey
	signID encoding.KeyID
	hpke   map[encoding.KeyID]*ecdh.PrivateKey
	hpkeID encoding.KeyID // the current one
	tls    keys.Pair

	g    *Gateway
	door door

	mu    sync.Mutex   // held from reading rows to committing what follows from them
	paces map[ID]*pace // of imports

	changed notifier // something of the party changed in the store
	inbox   notifier // a message came in
	nudge   nudge

	clients clients
	queue   *queue
	outbox  outbox
	trouble trouble
	budgets budgets
}

func openParty(g *Gateway, c PartyConfig) (*Party, error) {
	p := &Party{
		id: c.ID, key: partyKeyOf(c.ID), card: Card(c.Card), g: g,
		hpke: map[encoding.KeyID]*ecdh.PrivateKey{}, nudge: newNudge(),
		clients: clients{of: map[endpoint]*http.Client{}}, queue: newQueue(),
		outbox: newOutbox(), link: c.Link, desk: c.News.Desk, news: c.News.Link,
	}
	var err error
	if p.sign, err = g.safe.ReadSigning(filepath.Join(c.Keys, FileSign)); err != nil {
		return nil, err
	}
	p.signID = encoding.KeyIDOf(p.sign.Public().(ed25519.PublicKey))
	current, err := g.safe.ReadHPKE(filepath.Join(c.Keys, FileHPKE))
	if err != nil {
		return nil, err
	}
	p.hpkeID = encoding.KeyIDOf(current.PublicKey().Bytes())
	p.hpke[p.hpkeID] = current
	retired, err := filepath.Glob(filepath.Join(c.Keys, "hpke-*.pem"))
	if err != nil {
		return nil, err
	}
	for _, path := range retired {
		old, err := g.safe.ReadHPKE(path)
		if err != nil {
			return nil, err
		}
		p.hpke[encoding.KeyIDOf(old.PublicKey().Bytes())] = old
	}
	p.tls.Cert, p.tls.Key = filepath.Join(c.Keys, FileTLSCert), filepath.Join(c.Keys, FileTLSKey)
	p.tls.Safe = g.safe
	if _, err := p.tls.Load(nil); err != nil {
		return nil, err
	}
	p.door.file, p.door.oauth = c.Token, c.OAuth
	if p.door.token, err = readTokenHash(c.Token, g.safe); err != nil {
		return nil, err
	}
	return p, nil
}

func readTokenHash(path string, safe *keys.Safe) ([32]byte, error) {
	secret, err := ReadToken(path, safe)
	return sha256.Sum256([]byte(secret)), err
}

// compareKeys warns of keys that the directory does not have, or not any more:
// with them nothing will work, and the refusals of others tell less.
func (p *Party) compareKeys() {
	_, d := p.g.roots.known()
	if d == nil {
		return
	}
	now := p.g.now()
	if _, ok := d.SignKey(p.id, p.signID, now); !ok {
		p.g.log.Warn("the directory does not have this key", "party", string(p.id), "use", "sign", "key", p.signID.String())
	}
	if _, id, ok := d.HPKEKey(p.id, now); !ok || id != p.hpkeID {
		p.g.log.Warn("the directory does not have this key", "party", string(p.id), "use", "hpke", "key", p.hpkeID.String())
	}
	if owner, ok := d.ByTLS(keys.SPKIHash(p.tls.Leaf()), now); !ok || owner.ID != p.id {
		p.g.log.Warn("the directory does not have this key", "party", string(p.id), "use", "tls")
	}
}

// errNotListed says that with the new certificate nobody would know the party.
const errNotListed = logging.Error("the directory does not have the key of the new tls.crt yet; the old one stays in use until it has")

// Certificate is what the party shows to evaluators and the registry.
func (p *Party) Certificate() *keys.Pair { return &p.tls }

// LoadCertificate reads the party's certificate anew. It takes one that the directory
// has the key of; requests from then on are made with it.
func (p *Party) LoadCertificate() (changed bool, err error) {
	changed, err = p.tls.Load(func(c tls.Certificate) error {
		_, d := p.g.roots.known()
		if d == nil {
			return nil
		}
		if owner, ok := d.ByTLS(keys.SPKIHash(c.Leaf), p.g.now()); !ok || owner.ID != p.id {
			return errNotListed
		}
		return nil
	})
	if changed {
		p.closeClients()
	}
	return changed, err
}

// ReadToken reads an API key as a client sends it: the line in the file. A bootstrap
// token is base64; a key that the API made begins with KeyPrefix.
func ReadToken(path string, safe *keys.Safe) (string, error) {
	line, err := safe.ReadLine(path)
	if err == nil && strings.HasPrefix(line, KeyPrefix) {
		return line, nil
	}
	secret, err := safe.Secret(path)
	if err != nil {
		return "", err
	}
	if len(secret) < 16 {
		return "", fmt.Errorf("%s: an API token has at least 16 bytes", path)
	}
	return encodeToken(secret), nil
}

// ID is the party's id.
func (p *Party) ID() api.PartyID { return p.id }

func (p *Party) openKeybox(c seal.Context, box []byte) (seal.Keybox, error) {
	return seal.OpenKeybox(func(id encoding.KeyID) (*ecdh.PrivateKey, bool) {
		key, ok := p.hpke[id]
		return key, ok
	}, c, box)
}

// wake tells the worker that there is something to do.
func (p *Party) wake() { p.nudge.wake() }

// commit makes a batch durable and tells the queue, and whoever waits for a change.
// p.mu is held.
func (p *Party) commit(b *batch) error {
	if err := errors.Join(p.countImports(b), p.endMatches(b)); err != nil {
		return err
	}
	for sid, ids := range b.left {
		b.put(p.key.left(sid), ids)
	}
	if err := b.commit(); err != nil {
		return err
	}
	for _, job := range b.jobs {
		p.queue.put(job)
	}
	for _, id := range b.done {
		p.queue.delete(id)
		p.trouble.job(id, nil)
	}
	for _, sid := range b.ended {
		p.queue.ended(sid)
	}
	for _, do := range b.then {
		do()
	}
	p.changed.notify()
	return nil
}

// A nudge has one loop look again. What comes while it looks is one more look.
type nudge chan struct{}

func newNudge() nudge { return make(nudge, 1) }

func (n nudge) wake() {
	select {
	case n <- struct{}{}:
	default:
	}
}

// A notifier wakes all who wait. A waiter takes the channel first, then looks,
// and only then waits: so it misses nothing.
type notifier struct {
	mu sync.Mutex
	ch chan struct{}
}

func (n *notifier) wait() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ch == nil {
		n.ch = make(chan struct{})
	}
	return n.ch
}

func (n *notifier) notify() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ch != nil {
		close(n.ch)
		n.ch = nil
	}
}
