// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/api/edge"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/crypto/seal"
	"github.com/seinhuis/seinhuis/gateway/oauth"
	"github.com/seinhuis/seinhuis/keys"
)

// Where a gateway listens unless it is told otherwise: on its own machine only.
const (
	DefaultListen  = "127.0.0.1:8420"
	DefaultMetrics = "127.0.0.1:9420"
)

// Config is the configuration file of a gateway: strict JSON, paths relative to
// the file's folder.
type Config struct {
	Listen     string        `json:"listen"`            // the API's address
	Metrics    string        `json:"metrics"`           // Prometheus's; loopback only
	Data       string        `json:"data"`              // folder of the store
	StorageKey string        `json:"storageKey"`        // file outside Data, made by keygen
	Sealing    string        `json:"sealing,omitempty"` // sealing key: file, or credential:NAME; left out: keys in clear
	Pins       string        `json:"pins"`              // file: whose signatures are the root of trust
	Manifest   string        `json:"manifest"`          // file to start from; later ones are fetched
	Directory  string        `json:"directory"`         // file to start from; later ones are fetched
	Parties    []PartyConfig `json:"parties"`

	Webhooks WebhooksConfig `json:"webhooks"`
	Mail     *MailConfig    `json:"mail,omitempty"`

	TLS      TLSConfig    `json:"tls,omitzero"`      // for the API; left out: plain HTTP
	Proxies  []string     `json:"proxies,omitempty"` // addresses or networks of proxies whose X-Forwarded-* or Forwarded counts
	Security edge.Contact `json:"security,omitzero"` // for security.txt

	Connections edge.Connections `json:"connections,omitzero"` // to the API at a time; left out: 4,096
}

// TLSConfig names the files of a certificate and its key.
type TLSConfig struct {
	Cert string `json:"cert"`
	Key  string `json:"key"`
}

// PartyConfig is one party that the gateway serves.
type PartyConfig struct {
	ID    api.PartyID `json:"id"`
	Keys  string      `json:"keys"`  // folder made by keygen
	Token string      `json:"token"` // file with the party's API token; "token" in Keys if left out
	Card  CardConfig  `json:"card"`  // for who sends none
	Link  string      `json:"link"`  // prefix of links into the case system; the id of a registration follows it
	News  NewsConfig  `json:"news"`

	OAuth OAuthConfig `json:"oauth,omitzero"` // case systems that log in with access tokens
}

// OAuthConfig is a party's clients at an authorisation server. Several parties can have
// the same one; a client belongs to one of them.
type OAuthConfig struct {
	Issuer   string                  `json:"issuer"`
	Audience string                  `json:"audience"`        // this gateway, as the issuer calls it
	Roots    string                  `json:"roots,omitempty"` // PEM file with the issuer's CA; else the system's
	Clients  map[string]ClientConfig `json:"clients"`         // by client_id
}

// ClientConfig is what a client may do. The token's scope can only take roles away.
type ClientConfig struct {
	Roles  []Role `json:"roles"`
	Reach  Reach  `json:"reach"`
	Person string `json:"person,omitempty"` // the user it is bound to
}

// CardConfig is a contact card in the configuration.
type CardConfig struct {
	Name      string `json:"name"`
	Role      string `json:"role"`
	Desk      string `json:"desk"`
	Phone     string `json:"phone"`
	Email     string `json:"email"`
	Reachable string `json:"reachable"`
}

// LoadConfig reads a configuration file. What it does not know it refuses: a
// misspelt setting would otherwise be a setting that is silently not there.
func LoadConfig(path string) (Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Config{}, err
	}
	c := Config{Listen: DefaultListen, Metrics: DefaultMetrics}
	if err := encoding.UnmarshalJSON(text, &c); err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	if err := c.check(); err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	if inside, err := filepath.Rel(c.Data, c.StorageKey); err == nil && !strings.HasPrefix(inside, "..") {
		return Config{}, fmt.Errorf("%s: gateway: storageKey lies inside data; whoever copies the store must not copy what opens it", path)
	}
	folder := filepath.Dir(path)
	paths := []*string{&c.Data, &c.StorageKey, &c.Pins, &c.Manifest, &c.Directory, &c.Webhooks.Roots, &c.TLS.Cert, &c.TLS.Key}
	if c.Mail != nil {
		paths = append(paths, &c.Mail.Password, &c.Mail.Roots)
	}
	for _, p := range paths {
		*p = under(folder, *p)
	}
	c.Sealing = keys.SealingFile(c.Sealing, folder)
	for i := range c.Parties {
		p := &c.Parties[i]
		p.Keys = under(folder, p.Keys)
		if p.Token == "" {
			p.Token = filepath.Join(p.Keys, FileToken)
		} else {
			p.Token = under(folder, p.Token)
		}
		p.OAuth.Roots = under(folder, p.OAuth.Roots)
	}
	return c, nil
}

func under(folder, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(folder, path)
}

func (c Config) check() error {
	for name, value := range map[string]string{
		"data": c.Data, "storageKey": c.StorageKey, "pins": c.Pins, "manifest": c.Manifest, "directory": c.Directory,
	} {
		if value == "" {
			return fmt.Errorf("gateway: %q is missing", name)
		}
	}
	if host, _, err := net.SplitHostPort(c.Metrics); err != nil || !edge.Loopback(host) {
		return errors.New(`gateway: "metrics" must be a loopback address, like 127.0.0.1:9420`)
	}
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		return errors.New(`gateway: "tls" has a "cert" and a "key"`)
	}
	if _, err := edge.ParseProxies(c.Proxies); err != nil {
		return err
	}
	if c.Public() && c.TLS.Cert == "" && len(c.Proxies) == 0 {
		return errors.New(`gateway: "listen" reaches beyond this machine, so it needs "tls", or "proxies" that end TLS before it`)
	}
	if err := errors.Join(c.Security.Check(time.Now()), c.Connections.Check()); err != nil {
		return err
	}
	if len(c.Parties) == 0 {
		return errors.New(`gateway: "parties" names no party`)
	}
	seen := map[api.PartyID]bool{}
	clients := map[[2]string]bool{} // by issuer and id
	for _, p := range c.Parties {
		if _, err := api.ParseParty(string(p.ID)); err != nil {
			return err
		}
		if seen[p.ID] {
			return fmt.Errorf("gateway: party %s stands in the configuration twice", p.ID)
		}
		seen[p.ID] = true
		if p.Keys == "" {
			return fmt.Errorf("gateway: party %s has no %q", p.ID, "keys")
		}
		if err := p.checkSending(); err != nil {
			return err
		}
		if err := p.OAuth.check(); err != nil {
			return fmt.Errorf("gateway: oauth of party %s: %w", p.ID, err)
		}
		for id := range p.OAuth.Clients {
			if client := [2]string{p.OAuth.Issuer, id}; clients[client] {
				return fmt.Errorf("gateway: a client of party %s belongs to another party", p.ID)
			} else {
				clients[client] = true
			}
		}
		if card := seal.Card(p.Card); card != (seal.Card{}) {
			if err := card.Validate(); err != nil {
				return fmt.Errorf("gateway: the card of party %s: %w", p.ID, err)
			}
		}
	}
	return nil
}

var clientForm = regexp.MustCompile(`^[!-~]{1,128}$`)

func (c OAuthConfig) check() error {
	if c.Issuer == "" && c.Audience == "" && c.Roots == "" && len(c.Clients) == 0 {
		return nil
	}
	if err := oauth.CheckURL(c.Issuer); err != nil {
		return err
	}
	if c.Audience == "" {
		return errors.New("no audience")
	}
	for id, client := range c.Clients {
		if !clientForm.MatchString(id) {
			return errors.New("a client_id is of 1 to 128 visible ASCII characters")
		}
		if len(checkRoles(client.Roles, client.Reach)) > 0 || client.Person != "" && !ownerForm.MatchString(client.Person) {
			return fmt.Errorf("the roles, reach or person of client %s are none", id)
		}
	}
	return nil
}

// Public tells whether the API can be reached from other machines.
func (c Config) Public() bool {
	host, _, err := net.SplitHostPort(c.Listen)
	return err != nil || !edge.Loopback(host)
}
