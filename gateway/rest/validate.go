// SPDX-License-Identifier: EUPL-1.2

package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/gorilla/mux"

	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/gateway"
)

func (s *server) loadSpec() error {
	text, err := GetSpecJSON()
	if err != nil {
		return fmt.Errorf("%w: %w", errSpec, err)
	}
	if err := json.Unmarshal(text, &s.json); err != nil {
		return fmt.Errorf("%w: %w", errSpec, err)
	}
	if s.spec, err = GetSpec(); err != nil {
		return fmt.Errorf("%w: %w", errSpec, err)
	}
	if s.rules, err = rulesOf(s.spec); err != nil {
		return err
	}
	s.names = map[string]bool{}
	for _, schema := range s.spec.Components.Schemas {
		for name := range schema.Value.Properties {
			s.names[name] = true
		}
	}
	return nil
}

// validate holds a request against the description.
func (s *server) validate(next http.Handler) http.Handler {
	options := &openapi3filter.Options{
		MultiError: true, SkipSettingDefaults: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc,
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		item, operation := s.operation(r)
		dropEmpty(r)
		if !acceptable(r) {
			writeProblem(w, &problemAccept)
			return
		}
		var body []byte
		if operation.RequestBody != nil {
			kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
			if err != nil || kind != "application/json" {
				writeProblem(w, &problemMedia)
				return
			}
			limit := int64(maxBody)
			if operation.OperationID == "neemRegelsAan" {
				limit = maxRows
			}
			body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
			if err != nil {
				if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
					writeProblem(w, &problemSize)
				} else {
					writeProblem(w, inputProblem(nil))
				}
				return
			}
			if commas(body) > mostValues {
				writeProblem(w, &problemSize)
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
		}
		err := openapi3filter.ValidateRequest(r.Context(), &openapi3filter.RequestValidationInput{
			Request: r, PathParams: mux.Vars(r), Options: options,
			Route: &routers.Route{Spec: s.spec, Path: template(r), PathItem: item, Method: r.Method, Operation: operation},
		})
		if err != nil {
			faults := s.faults(err)
			if operation.OperationID == "maakSignaal" {
				faults = s.withContent(r, body, faults)
			}
			writeProblem(w, inputProblem(faults))
			return
		}
		if into := bodies[operation.OperationID]; into != nil && encoding.UnmarshalJSON(body, into()) != nil {
			writeProblem(w, inputProblem([]Invoerfout{fault(InvoerfoutInBody, "", gateway.CodeForm)}))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// mostValues that a body may have: 500 rows in which each field is there have as
// many. Each that is wrong is an error of its own to kin-openapi, some kilobytes long.
const mostValues = gateway.MaxRows * 14

// commas counts those between the values of a JSON text.
func commas(text []byte) (n int) {
	inside := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			inside = !inside
		case inside && c == '\\':
			i++
		case !inside && c == ',':
			n++
		}
	}
	return n
}

// bodies are what the operations read, for what kin-openapi lets pass: a field
// that stands there twice, or something behind the value.
var bodies = map[string]func() any{
	"maakSignaal":     func() any { return new(NieuwSignaal) },
	"trekSignaalIn":   func() any { return new(Intrekking) },
	"verlengSignaal":  func() any { return new(Verlenging) },
	"maakMelding":     func() any { return new(NieuweMelding) },
	"maakGebruiker":   func() any { return new(NieuweGebruiker) },
	"wijzigGebruiker": func() any { return new(GewijzigdeGebruiker) },
	"maakSleutel":     func() any { return new(NieuweSleutel) },
	"maakImport":      func() any { return new(NieuweImport) },
	"neemRegelsAan":   func() any { return new(NieuweRegels) },
}

// dropEmpty takes a parameter without a value for one that is not there, as
// generated clients send it.
func dropEmpty(r *http.Request) {
	for _, name := range []string{"Idempotency-Key", headerPerson} {
		if r.Header.Get(name) == "" {
			r.Header.Del(name)
		}
	}
	query := r.URL.Query()
	for name, values := range query {
		if len(values) == 1 && values[0] == "" {
			query.Del(name)
		}
	}
	r.URL.RawQuery = query.Encode()
}

// withContent adds what is wrong with the content of a signal to what is wrong
// with its form, so that all of it is told at once.
func (s *server) withContent(r *http.Request, body []byte, faults []Invoerfout) []Invoerfout {
	var in NieuwSignaal
	if json.Unmarshal(body, &in) != nil {
		return faults
	}
	for _, f := range faultsOf(accessOf(r.Context()).CheckSignal(subjectOf(in), termsOf(in, ""))) {
		if !slices.ContainsFunc(faults, func(g Invoerfout) bool { return g.Name == f.Name || strings.HasPrefix(g.Name, f.Name+".") }) {
			faults = append(faults, f)
		}
	}
	return faults
}

// faults reads kin-openapi's errors. Of their texts, which can hold what was sent,
// nothing is used.
func (s *server) faults(err error) []Invoerfout {
	switch e := err.(type) {
	case openapi3.MultiError:
		var list []Invoerfout
		for _, one := range e {
			for _, f := range s.faults(one) {
				if !slices.Contains(list, f) {
					list = append(list, f)
				}
			}
		}
		return list
	case *openapi3filter.RequestError:
		return s.requestFaults(e)
	}
	return []Invoerfout{fault(InvoerfoutInBody, "", gateway.CodeForm)}
}

func (s *server) requestFaults(e *openapi3filter.RequestError) (list []Invoerfout) {
	in, parameter := InvoerfoutInBody, ""
	if e.Parameter != nil {
		in, parameter = InvoerfoutIn(e.Parameter.In), e.Parameter.Name
	}
	for _, schemaError := range schemaErrors(e.Err) {
		name := parameter
		if name == "" {
			name = s.place(schemaError)
		}
		list = append(list, fault(in, name, codeOf(schemaError)))
	}
	if len(list) == 0 {
		code := gateway.CodeForm
		if errors.Is(e.Err, openapi3filter.ErrInvalidRequired) {
			code = gateway.CodeMissing
		}
		list = append(list, fault(in, parameter, code))
	}
	return list
}

func schemaErrors(err error) (list []*openapi3.SchemaError) {
	switch e := err.(type) {
	case openapi3.MultiError:
		for _, one := range e {
			list = append(list, schemaErrors(one)...)
		}
	case *openapi3.SchemaError:
		list = append(list, e)
	}
	return list
}

// place is where in the body a fault is: names that the description knows, and
// indexes of lists. Anything else was made up by the sender and is left out.
func (s *server) place(e *openapi3.SchemaError) string {
	var path []string
	for _, part := range e.JSONPointer() {
		index := len(part) > 0 && len(part) <= 3 && strings.Trim(part, "0123456789") == ""
		if s.names[part] || index {
			path = append(path, part)
		}
	}
	return strings.Join(path, ".")
}

var schemaCodes = map[string]gateway.Code{
	"required": gateway.CodeMissing, "properties": gateway.CodeUnknownField, "additionalProperties": gateway.CodeUnknownField,
	"enum": gateway.CodeUnknown, "maxLength": gateway.CodeLength, "maxItems": gateway.CodeLength,
	"minLength": gateway.CodeMissing, "minItems": gateway.CodeMissing,
}

func codeOf(e *openapi3.SchemaError) gateway.Code {
	if e.SchemaField == "format" && e.Schema.Format == "date" {
		return gateway.CodeDate
	}
	if code, ok := schemaCodes[e.SchemaField]; ok {
		return code
	}
	return gateway.CodeForm
}

func fault(in InvoerfoutIn, name string, code gateway.Code) Invoerfout {
	field := name[strings.LastIndexByte(name, '.')+1:]
	return Invoerfout{In: in, Name: name, Code: string(code), Detail: gateway.Fault{Field: field, Code: code}.Detail()}
}
