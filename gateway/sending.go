// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"crypto/x509"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/seinhuis/seinhuis/gateway/mail"
	"github.com/seinhuis/seinhuis/gateway/webhook"
)

// WebhooksConfig says where webhooks may go. Without it they go to the public internet
// only, over HTTPS.
type WebhooksConfig struct {
	Allow []netip.Prefix `json:"allow,omitempty"` // networks of the party's own, where its case system stands
	Plain bool           `json:"plain"`           // http:// too
	Roots string         `json:"roots"`           // file with certificates of authorities, in place of the machine's
}

// MailConfig is the mail server that takes our mail. Without it no mail is sent.
type MailConfig struct {
	Host     string    `json:"host"`
	Port     int       `json:"port"`
	TLS      mail.Mode `json:"tls"`
	User     string    `json:"user"`
	Password string    `json:"password"` // file
	From     string    `json:"from"`
	Roots    string    `json:"roots"` // file with certificates of authorities, in place of the machine's
}

// NewsConfig is how people of a party are told that there is news.
type NewsConfig struct {
	Desk []string `json:"desk,omitempty"` // addresses that get a mail of everything
	Link string   `json:"link"`           // in mails: where the news can be read
}

// openSenders makes what sends webhooks and mail.
func (g *Gateway) openSenders() error {
	roots, err := readRoots(g.config.Webhooks.Roots)
	if err != nil {
		return err
	}
	g.webhooks = webhook.NewClient(webhook.Options{Allow: g.config.Webhooks.Allow, Plain: g.config.Webhooks.Plain, Roots: roots})
	c := g.config.Mail
	if c == nil {
		return nil
	}
	sender := mail.Config{Host: c.Host, Port: c.Port, Mode: c.TLS, User: c.User, From: c.From}
	if sender.Roots, err = readRoots(c.Roots); err != nil {
		return err
	}
	if c.User != "" {
		password, err := os.ReadFile(c.Password)
		if err == nil {
			password, err = g.safe.Open(c.Password, password)
		}
		if err != nil {
			return err
		}
		sender.Password = strings.TrimRight(string(password), "\r\n")
	}
	g.mailer, err = mail.New(sender)
	return err
}

func readRoots(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("gateway: %s holds no certificates", path)
	}
	return roots, nil
}

// checkSending finds what is wrong with how a party's people and systems are told.
func (c PartyConfig) checkSending() error {
	for name, prefix := range map[string]string{"link": c.Link, "news.link": c.News.Link} {
		if prefix != "" && !linkForm(prefix) {
			return fmt.Errorf("gateway: %q of party %s must begin with https:// or http:// and a host", name, c.ID)
		}
	}
	for _, address := range c.News.Desk {
		if !mail.Check(address) {
			return fmt.Errorf("gateway: \"news.desk\" of party %s has something that is no address", c.ID)
		}
	}
	return nil
}
