// SPDX-License-Identifier: EUPL-1.2

package exchange

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/api/edge"
)

// maxImports is how many imports are worked on at a time, which bounds how long
// single signals wait behind them.
const maxImports = 2

// comeAgain is when a party may try an import again for which there is no room.
const comeAgain = 2 * time.Second

var errBusy = errors.New("exchange: busy with other imports")

// ImportSignals answers line by line, in the order of the submissions. One import of
// a party is let through at a time, which bounds the memory that bodies take: whoever
// does not finish his keeps nobody but himself waiting.
func (o operations) ImportSignals(ctx context.Context, r ImportSignalsRequestObject) (ImportSignalsResponseObject, error) {
	from := PartyOf(ctx)
	if _, already := o.busy.LoadOrStore(from, true); already {
		return nil, api.RefuseFor(api.CodeUnavailable, errBusy, comeAgain)
	}
	defer o.busy.Delete(from)
	lines, err := edge.ReadLines[api.Submission](r.Body, api.MaxImport)
	if err != nil {
		return nil, err
	}
	select {
	case o.importing <- struct{}{}:
		defer func() { <-o.importing }()
	default:
		return nil, api.RefuseFor(api.CodeUnavailable, errBusy, comeAgain)
	}
	start := time.Now()
	subs := make([]api.Submission, len(lines))
	for i, line := range lines {
		if line.Fault == nil && !whole(line.Value) {
			lines[i].Fault = api.Refuse(api.CodeMalformed, nil)
			continue
		}
		subs[i] = line.Value
	}
	got, err := o.Matcher.Import(ctx, from, subs)
	if err != nil {
		return nil, err
	}
	answers, taken := make(imported, len(lines)), 0
	for i, one := range got {
		if lines[i].Fault != nil { // an empty submission was refused in its place
			one.Refused = lines[i].Fault
		}
		o.metrics.observe("import", one.Created, one.Refused, time.Since(start))
		if one.Refused != nil {
			code := api.CodeOf(one.Refused)
			answers[i] = api.Imported{Status: code.Refusal().Status, Code: code}
			continue
		}
		status := http.StatusOK
		if one.Created {
			status = http.StatusCreated
			taken++
		}
		answers[i] = api.Imported{Status: status, SID: one.SID, Rev: one.Rev, Receipt: &one.Receipt}
	}
	o.took(from, taken)
	return answers, nil
}

// whole tells whether a line has what the description requires of the body of a
// signal that comes alone; its form was held against the type already.
func whole(sub api.Submission) bool {
	if sub.Signed.Signed == nil || sub.Signature == nil || sub.Faces == nil {
		return false
	}
	for _, face := range sub.Faces {
		if face.Card == nil || face.Keybox == nil {
			return false
		}
	}
	return true
}

// imported are the lines of the answer.
type imported []api.Imported

// VisitImportSignalsResponse writes them whole: the generated way sends them in
// pieces of 4 KiB.
func (list imported) VisitImportSignalsResponse(w http.ResponseWriter) error {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	for _, a := range list {
		if err := encoder.Encode(a); err != nil {
			return err
		}
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	_, _ = out.WriteTo(w) // who went away meanwhile asks again
	return nil
}
