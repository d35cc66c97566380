// SPDX-License-Identifier: EUPL-1.2

package edge

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/seinhuis/seinhuis/api"
)

// ErrDescription says that an OpenAPI file is not one, or not as this package
// needs it.
var ErrDescription = errors.New("edge: the OpenAPI file cannot be used")

// A Description is an OpenAPI 3.0.3 file.
type Description struct {
	doc   *openapi3.T
	json  json.RawMessage
	names map[string]bool // of all properties; others are made up by a sender
}

// An Operation is what the file says of one method of one path.
type Operation struct {
	ID     string
	Method string
	Path   string // as it is routed: with the /v1 of the server
	// Callers are the security schemes of which one lets a caller in; none: anybody
	// may call.
	Callers []string
	// Limit is how many bytes a body may have: x-maxBytes of the requestBody, or else of
	// the file.
	Limit int64
	*openapi3.Operation

	parameters []*openapi3.Parameter // of the path too
	produces   []string              // media types of what is answered when all is well
}

// Load reads an OpenAPI file, YAML or JSON.
func Load(file []byte) (*Description, error) {
	doc, err := openapi3.NewLoader().LoadFromData(file)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDescription, err)
	}
	d := &Description{doc: doc, names: map[string]bool{}}
	if d.json, err = json.Marshal(doc); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDescription, err)
	}
	if len(doc.Servers) == 0 || doc.Extensions[maxBytes] == nil {
		return nil, fmt.Errorf("%w: it has no servers or no %s", ErrDescription, maxBytes)
	}
	for path := range doc.Paths.Map() {
		if versioned.MatchString(path) {
			return nil, fmt.Errorf("%w: %s repeats the version that stands in the server's url", ErrDescription, path)
		}
	}
	for _, schema := range doc.Components.Schemas {
		for name := range schema.Value.Properties {
			d.names[name] = true
		}
	}
	return d, nil
}

// Ours is the API of registry and evaluators. It is read once, however many of them a
// process has.
var Ours = sync.OnceValue(func() *Description {
	d, err := Load(api.OpenAPI)
	if err != nil { // it is compiled in
		panic(err)
	}
	return d
})

// JSON is the file, to be served to whoever asks.
func (d *Description) JSON() json.RawMessage { return d.json }

// Operations are all of the file, by path and method.
func (d *Description) Operations() (list []*Operation) {
	for _, path := range d.doc.Paths.InMatchingOrder() {
		item := d.doc.Paths.Value(path)
		for _, method := range methods {
			if item.GetOperation(method) != nil {
				list = append(list, d.operation(path, method))
			}
		}
	}
	return list
}

// Doc is what was read. It is shared: change nothing in it.
func (d *Description) Doc() *openapi3.T { return d.doc }

// maxBytes is our extension for the limit of a body.
const maxBytes = "x-maxBytes"

var (
	majorVersion = regexp.MustCompile(`/v[0-9]+$`)
	versioned    = regexp.MustCompile(`^/v[0-9]+(/|$)`)
)

// operation gives nil for what the file does not have. path is as the file writes it.
func (d *Description) operation(path, method string) *Operation {
	item := d.doc.Paths.Value(path)
	if item == nil || item.GetOperation(method) == nil {
		return nil
	}
	op := &Operation{Method: method, Operation: item.GetOperation(method)}
	op.ID = op.OperationID
	for _, p := range slices.Concat(item.Parameters, op.Parameters) {
		op.parameters = append(op.parameters, p.Value)
	}
	servers := d.doc.Servers
	if len(item.Servers) > 0 {
		servers = item.Servers
	}
	op.Path = majorVersion.FindString(servers[0].URL) + path
	security := d.doc.Security
	if op.Security != nil {
		security = *op.Security
	}
	for _, one := range security {
		for scheme := range one {
			op.Callers = append(op.Callers, scheme)
		}
	}
	if limit, ok := d.doc.Extensions[maxBytes].(float64); ok {
		op.Limit = int64(limit)
	}
	if op.RequestBody != nil {
		if limit, ok := op.RequestBody.Value.Extensions[maxBytes].(float64); ok {
			op.Limit = int64(limit)
		}
	}
	for status, response := range op.Responses.Map() {
		if strings.HasPrefix(status, "2") {
			for media := range response.Value.Content {
				op.produces = append(op.produces, media)
			}
		}
	}
	slices.Sort(op.produces)
	op.produces = slices.Compact(op.produces)
	return op
}

// methods of a route: HEAD answers where anybody may GET.
func (op *Operation) methods() []string {
	if op.Method == http.MethodGet && len(op.Callers) == 0 {
		return []string{http.MethodGet, http.MethodHead}
	}
	return []string{op.Method}
}
