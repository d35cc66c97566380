// SPDX-License-Identifier: EUPL-1.2

package contracttest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// parameters tries each parameter with each value that breaks its schema, one that
// there is not, and what cannot be read.
func (w *walk) parameters() {
	w.query("query with a parameter that there is not", "unheardOf=1", "unheardOf")
	w.query("query with an empty parameter that there is not", "unheardOf=", "unheardOf")
	w.query("query with a number for a name", CanaryDigits+"=1", "")
	w.query("query that cannot be read", "%zz="+Canary, "")
	for _, ref := range w.op.Parameters {
		p := ref.Value
		for what, value := range broken(p.Schema.Value) {
			text := fmt.Sprint(value)
			if p.Schema.Value.Type.Is("string") && what == "a number" || text == "" {
				continue // it is a text; an empty one stands for none
			}
			name := fmt.Sprintf("%s %s: %s", p.In, p.Name, what)
			switch p.In {
			case openapi3.ParameterInQuery:
				w.want(name, http.StatusBadRequest, func(r *http.Request) {
					query := r.URL.Query()
					query.Set(p.Name, text)
					r.URL.RawQuery = query.Encode()
				}, w.call.Body)
			case openapi3.ParameterInHeader:
				w.want(name, http.StatusBadRequest, func(r *http.Request) { r.Header.Set(p.Name, text) }, w.call.Body)
			case openapi3.ParameterInPath:
				w.want(name, http.StatusBadRequest, func(r *http.Request) {
					r.URL.Path = strings.Replace(w.path, w.call.Path[p.Name], text, 1)
				}, w.call.Body)
			}
		}
		if p.In == openapi3.ParameterInQuery {
			w.want("query "+p.Name+": twice", http.StatusBadRequest, func(r *http.Request) {
				query := r.URL.Query()
				query[p.Name] = []string{Canary, Canary}
				r.URL.RawQuery = query.Encode()
			}, w.call.Body)
			w.query("query "+p.Name+": cannot be read", p.Name+"=%zz"+Canary, p.Name)
		}
	}
}

// query tries the good call with more in its query, which has to be refused by name.
func (w *walk) query(what, more, name string) {
	w.t.Helper()
	resp, text := w.ask(what, w.Known(w.op), func(r *http.Request) {
		r.URL.RawQuery = strings.TrimPrefix(r.URL.RawQuery+"&"+more, "&")
	}, w.call.Body)
	var problem struct{ Errors []struct{ In, Name string } }
	if err := json.Unmarshal(text, &problem); err != nil || resp.StatusCode != http.StatusBadRequest || len(problem.Errors) != 1 ||
		problem.Errors[0].In != openapi3.ParameterInQuery || problem.Errors[0].Name != name {
		w.t.Errorf("%s: %s, want 400 that names %q: %s", what, resp.Status, name, text)
	}
}

// bodies tries what is wrong with a body, one thing at a time.
func (w *walk) bodies() {
	if w.op.RequestBody == nil || w.op.RequestBody.Value.Content["application/json"] == nil {
		return
	}
	good := w.call.Body
	for name, body := range map[string]string{
		"nothing":       "",
		"cut off":       good[:len(good)-1],
		"trailing data": good + `{"` + Canary + `":1}`,
		"not JSON":      Canary,
		"null":          "null",
		"list":          `["` + Canary + `"]`,
		"text":          `"` + Canary + `"`,
		"not UTF-8":     `{"` + "\xff" + Canary + `":1}`,
		"unknown field": strings.Replace(good, "{", `{"`+Canary+`":1,`, 1),
		"field twice":   strings.Replace(good, "{", `{"`+Canary+`":1,"`+Canary+`":1,`, 1),
	} {
		if good == "{}" {
			body = strings.ReplaceAll(body, ",}", "}")
		}
		w.want(name, http.StatusBadRequest, nil, body)
	}
	var value map[string]any
	if err := json.Unmarshal([]byte(good), &value); err != nil {
		w.t.Fatalf("the good body is no object: %v", err)
	}
	for field := range value { // each that is there, a second time
		text, err := json.Marshal(value[field])
		if err != nil {
			w.t.Fatal(err)
		}
		w.want("twice "+field, http.StatusBadRequest, nil, strings.Replace(good, "{", fmt.Sprintf(`{%q:%s,`, field, text), 1))
	}
	for what, bad := range mutations(w.op.RequestBody.Value.Content["application/json"].Schema.Value, value) {
		text, err := json.Marshal(bad)
		if err != nil {
			w.t.Fatal(err)
		}
		w.want(what, http.StatusBadRequest, nil, string(text))
	}
}

// mutations are copies of a value, each with one fault against the schema.
func mutations(s *openapi3.Schema, value any) map[string]any {
	all := broken(s)
	switch v := value.(type) {
	case map[string]any:
		for _, name := range s.Required {
			without := maps.Clone(v)
			delete(without, name)
			all["without "+name] = without
		}
		for name, property := range s.Properties {
			inner := broken(property.Value)
			if old, ok := v[name]; ok {
				inner = mutations(property.Value, old)
			}
			inner["null"] = nil
			for what, bad := range inner {
				other := maps.Clone(v)
				other[name] = bad
				all[name+": "+what] = other
			}
		}
		if len(s.Properties) > 0 {
			more := maps.Clone(v)
			more[Canary] = canaryNumber
			all["unknown field"] = more
		}
	case []any:
		if len(v) == 0 {
			break
		}
		for what, bad := range mutations(s.Items.Value, v[0]) {
			all["0: "+what] = append([]any{bad}, v[1:]...)
		}
		if s.MaxItems != nil {
			all["too many"] = slices.Repeat(v[:1], int(*s.MaxItems)+1)
		}
		if s.UniqueItems {
			all["one twice"] = append([]any{v[0]}, v...)
		}
	}
	return all
}

// broken are values that break a schema by themselves.
func broken(s *openapi3.Schema) map[string]any {
	all := map[string]any{}
	switch {
	case s.Type.Is("string"):
		all["a number"] = canaryNumber
		if s.MaxLength != nil {
			all["too long"] = Canary + strings.Repeat("x", int(*s.MaxLength))
		}
		if s.MinLength > 0 {
			all["too short"] = strings.Repeat("x", int(s.MinLength)-1)
		}
		if s.Format == "date" {
			all["no such day"] = "2026-02-30"
		}
		if len(s.Enum) > 0 || s.Format == "date" || s.Format == "date-time" {
			all["none of them"] = Canary
		}
		if s.Pattern != "" || s.Format == "byte" {
			all["another form"] = Canary + " é!"
		}
	case s.Type.Is("integer"), s.Type.Is("number"):
		all["a text"] = Canary
		if s.Type.Is("integer") {
			all["a fraction"] = canaryNumber + 0.5
			all["more than an integer"] = json.Number(CanaryDigits + CanaryDigits + CanaryDigits)
		}
		if s.Min != nil {
			all["too little"] = *s.Min - 1
		}
		if s.Max != nil {
			all["too much"] = *s.Max + 1
		}
	case s.Type.Is("boolean"), s.Type.Is("object"):
		all["a text"] = Canary
	case s.Type.Is("array"):
		all["a text"] = Canary
		if s.MinItems > 0 {
			all["empty"] = []any{}
		}
	}
	return all
}
