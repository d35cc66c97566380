// SPDX-License-Identifier: EUPL-1.2

// Package api holds what travels between a party's gateway, the evaluators and
// the registry: signed statements, wire types, limits and refusals. It does no
// I/O and knows no keys but those it is handed.
//
// A [Statement], an [Act] and a [Receipt] are bytes in the language of package
// encoding with an Ed25519 signature over exactly those bytes. JSON carries
// them whole ([Signed]), and the receiver parses what was signed.
//
// The form of requests and answers is described in openapi.yaml, from which the
// servers of api/exchange and api/evaluation are generated. Their types are those of
// this package.
package api

import _ "embed"

// OpenAPI is the description of the registry's and the evaluators' HTTP API: OpenAPI
// 3.0.3, as YAML.
//
//go:embed openapi.yaml
var OpenAPI []byte
