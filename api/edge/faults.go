// SPDX-License-Identifier: EUPL-1.2

package edge

import (
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/gorilla/mux"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
)

// Of kin-openapi's errors nothing is told but places and rules: their texts can hold
// what was sent.

// bodyFaults holds a JSON body against its schema.
func (d *Description) bodyFaults(op *Operation, value any) (list []api.Fault) {
	schema := op.RequestBody.Value.Content[mediaJSON].Schema.Value
	for _, e := range schemaErrors(schema.VisitJSON(value, openapi3.VisitAsRequest(), openapi3.MultiErrors(), canonicalBase64)) {
		list = add(list, api.Fault{In: "body", Name: d.place(e.JSONPointer()), Code: faultCode(e)})
	}
	return list
}

// canonicalBase64 reads format byte as our JSON has it, which is also quicker than
// kin-openapi's regular expression.
var canonicalBase64 = openapi3.WithStringFormatValidator("byte", openapi3.NewCallbackValidator(func(s string) error {
	_, err := encoding.ParseBase64(s)
	return err
}))

var parameterOptions = &openapi3filter.Options{MultiError: true, SkipSettingDefaults: true}

// queryFaults are the parts of a query that cannot be read, and parameters that the
// operation does not have. kin-openapi and generated code skip both, and the sender
// would never know that his filter does nothing.
func queryFaults(r *http.Request, op *Operation) (list []api.Fault) {
	for part := range strings.SplitSeq(r.URL.RawQuery, "&") {
		pair, err := url.ParseQuery(part)
		if err != nil {
			name, _, _ := strings.Cut(part, "=")
			if !op.asks(name) {
				name = ""
			}
			list = add(list, api.Fault{In: openapi3.ParameterInQuery, Name: name, Code: api.FaultForm})
		}
		for name, values := range pair {
			switch {
			case !op.asks(name):
				if !parameterForm.MatchString(name) {
					name = ""
				}
				list = add(list, api.Fault{In: openapi3.ParameterInQuery, Name: name, Code: api.FaultUnknownField})
			case !utf8.ValidString(values[0]):
				list = add(list, api.Fault{In: openapi3.ParameterInQuery, Name: name, Code: api.FaultForm})
			}
		}
	}
	return list
}

// parameterForm is how our parameters are named, and their misspellings. Anything else
// that stands in a name's place is not repeated: it may be what belongs in a value.
var parameterForm = regexp.MustCompile(`^[A-Za-z]{1,32}$`)

// asks tells whether an operation has a parameter of this name in the query.
func (op *Operation) asks(name string) bool {
	return slices.ContainsFunc(op.parameters, func(p *openapi3.Parameter) bool { return p.In == openapi3.ParameterInQuery && p.Name == name })
}

// parameterFaults holds path, query and headers against the description.
func parameterFaults(r *http.Request, op *Operation) (list []api.Fault) {
	input := &openapi3filter.RequestValidationInput{Request: r, PathParams: mux.Vars(r), Options: parameterOptions}
	for _, p := range op.parameters {
		err := openapi3filter.ValidateParameter(r.Context(), input, p)
		if err == nil {
			continue
		}
		fault := api.Fault{In: p.In, Name: p.Name, Code: api.FaultForm}
		broken := schemaErrors(errors.Unwrap(err))
		for _, one := range broken {
			fault.Code = faultCode(one)
			list = add(list, fault)
		}
		if len(broken) > 0 {
			continue
		}
		if errors.Is(err, openapi3filter.ErrInvalidRequired) {
			fault.Code = api.FaultMissing
		}
		list = add(list, fault)
	}
	return list
}

func add(list []api.Fault, f api.Fault) []api.Fault {
	if slices.Contains(list, f) {
		return list
	}
	return append(list, f)
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
func (d *Description) place(pointer []string) string {
	var path []string
	for _, part := range pointer {
		index := len(part) > 0 && len(part) <= 3 && strings.Trim(part, "0123456789") == ""
		if d.names[part] || index {
			path = append(path, part)
		}
	}
	return strings.Join(path, ".")
}

var faultCodes = map[string]string{
	"required": api.FaultMissing, "properties": api.FaultUnknownField, "additionalProperties": api.FaultUnknownField,
	"enum": api.FaultUnknownValue, "maxLength": api.FaultLength, "maxItems": api.FaultLength,
	"minLength": api.FaultLength, "minItems": api.FaultLength,
}

func faultCode(e *openapi3.SchemaError) string {
	switch {
	case e.SchemaField == "format" && e.Schema.Format == "date":
		return api.FaultDate
	case e.SchemaField == "minLength" && e.Schema.MinLength == 1, e.SchemaField == "minItems" && e.Schema.MinItems == 1:
		return api.FaultMissing
	}
	if code, ok := faultCodes[e.SchemaField]; ok {
		return code
	}
	return api.FaultForm
}
