// SPDX-License-Identifier: EUPL-1.2

package rest

//go:generate go tool oapi-codegen -config oapi-codegen.yaml openapi.yaml
