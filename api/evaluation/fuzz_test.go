// SPDX-License-Identifier: EUPL-1.2

package evaluation

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/seinhuis/seinhuis/api"
)

// Whatever a party posts is answered with an evaluation or a refusal in form.
func FuzzEvaluations(f *testing.F) {
	w := newWorld(f, nil)
	c := w.client(school)
	f.Add(body(f, 1, 2012, 4, blind(f, 2).Elements()...))
	f.Add(body(f, 1, 2012, 4, make([]byte, 32)))
	f.Add(`{"epoch":1,"cohort":2012,"sharing":4,"elements":[null]}`)
	f.Add(`{"epoch":-1}`)
	f.Fuzz(func(t *testing.T, sent string) {
		resp, answer := post(t, c, w.url, sent)
		var problem api.Problem
		switch {
		case resp.StatusCode >= 500:
			t.Errorf("%s for %q", resp.Status, sent)
		case resp.StatusCode != http.StatusOK && json.Unmarshal(answer, &problem) != nil:
			t.Errorf("a refusal out of form: %q", answer)
		}
	})
}
