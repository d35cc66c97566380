// SPDX-License-Identifier: EUPL-1.2

package rest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/api/edge"
	"github.com/seinhuis/seinhuis/gateway"
)

// words are the rules of the description in the words of this API.
var words = map[string]gateway.Code{
	api.FaultMissing: gateway.CodeMissing, api.FaultForm: gateway.CodeForm, api.FaultLength: gateway.CodeLength,
	api.FaultDate: gateway.CodeDate, api.FaultUnknownField: gateway.CodeUnknownField, api.FaultUnknownValue: gateway.CodeUnknown,
}

func inDutch(faults []api.Fault) []Invoerfout {
	list := make([]Invoerfout, len(faults))
	for i, f := range faults {
		list[i] = Invoerfout{In: InvoerfoutIn(f.In), Name: f.Name, Code: f.Code, Detail: f.Detail}
		if code, ok := words[f.Code]; ok {
			list[i] = fault(InvoerfoutIn(f.In), f.Name, code)
		}
	}
	return list
}

func fault(in InvoerfoutIn, name string, code gateway.Code) Invoerfout {
	field := name[strings.LastIndexByte(name, '.')+1:]
	return Invoerfout{In: in, Name: name, Code: string(code), Detail: gateway.Fault{Field: field, Code: code}.Detail()}
}

// withContent adds what is wrong with the content of a signal to what is wrong
// with its form, so that all of it is told at once.
func withContent(r *http.Request, op *edge.Operation, body []byte, faults []api.Fault) []api.Fault {
	var in NieuwSignaal
	if op.ID != "maakSignaal" || json.Unmarshal(body, &in) != nil {
		return faults
	}
	for _, f := range accessOf(r.Context()).CheckSignal(subjectOf(in), termsOf(in, "")) {
		if !slices.ContainsFunc(faults, func(g api.Fault) bool { return g.Name == f.Field || strings.HasPrefix(g.Name, f.Field+".") }) {
			faults = append(faults, api.Fault{In: "body", Name: f.Field, Code: string(f.Code), Detail: f.Detail()})
		}
	}
	return faults
}
