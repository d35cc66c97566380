// SPDX-License-Identifier: EUPL-1.2

// Package rest is the gateway's HTTP API, for case systems and for the commands
// of cmd/gateway. openapi.yaml is written first; server, models and client are
// generated from it (api.gen.go), and what is sent is validated against it.
//
//	headers ─ route (404, 405) ─ key (401) ─ role (403) ─ Accept (406) ─ media type (415) ─ size (413) ─ form (400) ─ act
//
// Which roles an operation asks for stands beside it in the description (x-rollen);
// what is out of reach of who asks is 404, like what is not there.
//
// The API is Dutch, and so are its errors. Those of the router, of kin-openapi and
// of the generated code are replaced by texts of our own, because theirs can hold
// what was sent. An error names a field by its place in the body, and only if the
// description knows that name.
//
// An act is durable before it is answered. How long the answer may wait for the
// registry is the caller's choice.
package rest

//go:generate go tool oapi-codegen -config oapi-codegen.yaml openapi.yaml
