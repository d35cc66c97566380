// SPDX-License-Identifier: EUPL-1.2

// Package webhook sends events to a case system that asked for them. It keeps
// nothing: what is sent when, and again, is package gateway's.
//
// # What is sent
//
// A POST of one [Event]: CloudEvents 1.0 in structured JSON, by the NL GOV profile.
// Context attributes hold nothing sensitive, because brokers log them and route by
// them; there is no subject.
//
// # Signatures
//
// Standard Webhooks: the headers webhook-id, webhook-timestamp (Unix seconds) and
// webhook-signature, which holds a signature per [Secret] in force, with spaces
// between them. Signed is `id.timestamp.body`.
//
//	v1   HMAC-SHA256 under a secret that both sides have: whsec_ + base64 of 24 to 64 bytes
//	v1a  Ed25519: the sender has whsk_ + base64(seed ‖ public key), the receiver whpk_ + base64
//
// The id stays the same when an event is sent again; the timestamp does not.
//
// # Where it is sent
//
// Whoever may make a subscription chooses an address that the gateway then asks, from
// inside the party's network. So a [Client] dials no address outside the public
// internet unless the configuration allows its network. It looks at the resolved
// address at the moment of dialing: a name that is looked up a second time, or that a
// redirect leads to, cannot slip past. It follows no redirects and no proxy.
package webhook
