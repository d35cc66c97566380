// SPDX-License-Identifier: EUPL-1.2

package rest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/seinhuis/seinhuis/api/edge"
	"github.com/seinhuis/seinhuis/gateway"
)

// headerPerson names the professional for whom a case system asks.
const headerPerson = "Seinhuis-Hulpverlener"

// What a client is told of its credentials (RFC 6750 section 3): nothing of what is
// wrong with a token.
const (
	challengeAny   = "Bearer"
	challengeToken = `Bearer error="invalid_token"`
	challengeRole  = `Bearer error="insufficient_scope"`
)

// A rule is who may do an operation.
type rule struct {
	public bool
	roles  []gateway.Role // one of them; none means whoever has access
	person bool           // it is done for a professional, where reach is not everything
}

// rulesOf reads the rules from the description. One that it cannot read is an error:
// a misspelt role would otherwise be one that nobody has, or none at all.
func rulesOf(spec *openapi3.T) (map[string]rule, error) {
	rules := map[string]rule{}
	for path, item := range spec.Paths.Map() {
		for method, o := range item.Operations() {
			r := rule{public: o.Security != nil && len(*o.Security) == 0}
			if listed, ok := o.Extensions["x-rollen"]; ok {
				list, ok := listed.([]any)
				for _, name := range list {
					role, text := name.(string)
					r.roles = append(r.roles, gateway.Role(role))
					ok = ok && text && slices.Contains(gateway.Roles, gateway.Role(role))
				}
				if !ok || len(list) == 0 || r.public {
					return nil, fmt.Errorf("%w: x-rollen of %s %s", edge.ErrDescription, method, path)
				}
			}
			for _, parameter := range o.Parameters {
				r.person = r.person || parameter.Value.In == openapi3.ParameterInHeader && parameter.Value.Name == headerPerson
			}
			rules[o.OperationID] = r
		}
	}
	return rules, nil
}

type contextKey int

const accessInContext contextKey = 0

// accessOf is who asks; every operation that is not public has one.
func accessOf(ctx context.Context) *gateway.Access {
	return ctx.Value(accessInContext).(*gateway.Access)
}

// authenticate finds who asks, and whether he may do this operation. What he asks ends
// when his access does.
func (s *server) authenticate(w http.ResponseWriter, r *http.Request, op *edge.Operation) (context.Context, func(), error) {
	access, refused := s.access(w, r, s.rules[op.ID])
	if refused != nil {
		return nil, nil, refused
	}
	ctx, end := access.While(r.Context())
	if wantsStream(r) {
		ctx = context.WithValue(ctx, streamInContext, true)
	}
	return context.WithValue(ctx, accessInContext, access), end, nil
}

func (s *server) access(w http.ResponseWriter, r *http.Request, rule rule) (*gateway.Access, *problem) {
	credentials := r.Header.Values("Authorization")
	if len(credentials) == 0 {
		return nil, &problemToken
	}
	w.Header().Set("WWW-Authenticate", challengeToken)
	scheme, key, _ := strings.Cut(credentials[0], " ")
	if len(credentials) > 1 || !strings.EqualFold(scheme, "Bearer") {
		return nil, &problemToken
	}
	access, err := s.gateway.Authenticate(r.Context(), key)
	if errors.Is(err, gateway.ErrIssuer) {
		w.Header().Del("WWW-Authenticate")
		w.Header().Set("Retry-After", "30")
	}
	if err != nil {
		return nil, problemOf(err)
	}
	w.Header().Del("WWW-Authenticate")
	access.Origin, access.Trace = origin(r), trace(r)
	if len(rule.roles) > 0 && !access.Has(rule.roles...) {
		w.Header().Set("WWW-Authenticate", challengeRole)
		return nil, &problemRole
	}
	if rule.person {
		return access, forPerson(access, r.Header.Values(headerPerson))
	}
	return access, nil
}

var personForm = regexp.MustCompile(`^[A-Za-z0-9._@-]{1,64}$`)

// forPerson has the access be for the professional that the request names, who has to
// be named where the access reaches not everything and is not his own.
func forPerson(access *gateway.Access, named []string) *problem {
	refuse := func(code gateway.Code) *problem {
		return inputProblem([]Invoerfout{fault(InvoerfoutInHeader, headerPerson, code)})
	}
	switch {
	case len(named) == 0 || len(named) == 1 && named[0] == "":
		if access.Reach != gateway.ReachAll && access.Person == "" {
			return refuse(gateway.CodeMissing)
		}
		return nil
	case len(named) > 1 || !personForm.MatchString(named[0]):
		return refuse(gateway.CodeForm)
	}
	if err := access.For(named[0]); err != nil {
		return problemOf(err)
	}
	return nil
}

// whileValid holds back an answer that was made under an access that has ended since.
func whileValid(next StrictHandlerFunc, _ string) StrictHandlerFunc {
	return func(ctx context.Context, w http.ResponseWriter, r *http.Request, request any) (any, error) {
		answer, err := next(ctx, w, r, request)
		if access, ok := ctx.Value(accessInContext).(*gateway.Access); ok && !access.Valid() {
			w.Header().Set("WWW-Authenticate", challengeToken)
			return nil, gateway.ErrAccess
		}
		return answer, err
	}
}

// origin is the network access point, for the log.
func origin(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	return host
}

var traceParent = regexp.MustCompile(`^00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}$`)

// trace is the caller's trace id (W3C Trace Context), or one of our own.
func trace(r *http.Request) string {
	if m := traceParent.FindStringSubmatch(r.Header.Get("Traceparent")); m != nil {
		return m[1]
	}
	var id [16]byte
	rand.Read(id[:])
	return hex.EncodeToString(id[:])
}
