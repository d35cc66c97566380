// SPDX-License-Identifier: EUPL-1.2

package edge

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
)

// linesTime is how long a client may take to send a body of lines.
const linesTime = time.Minute

const mediaLines = "application/x-ndjson"

// A Line is one line of a body: its value, or why it has none.
type Line[T any] struct {
	Value T
	Fault error // *api.Error
}

// Lines handles requests whose body is lines of JSON, at most most of them and
// limit bytes in all. A line that does not decode is a fault of that line alone. fn
// gives the answer's lines.
func Lines[Req, Resp any](limit int64, most int, log *slog.Logger, fn func(ctx context.Context, r *http.Request, lines []Line[Req]) ([]Resp, error)) http.Handler {
	return handler(log, mediaLines, func(w http.ResponseWriter, r *http.Request) (int, []byte, error) {
		body, err := readBody(w, r, mediaLines, limit, linesTime)
		if err != nil {
			return 0, nil, err
		}
		var lines []Line[Req]
		for text := range bytes.Lines(body) {
			if len(lines) == most {
				return 0, nil, api.Refuse(api.CodeTooLarge, nil)
			}
			var line Line[Req]
			if err := encoding.UnmarshalJSON(bytes.TrimSpace(text), &line.Value); err != nil {
				line.Fault = api.Refuse(api.CodeMalformed, err)
			}
			lines = append(lines, line)
		}
		answers, err := fn(r.Context(), r, lines)
		if err != nil {
			return 0, nil, err
		}
		var out bytes.Buffer
		encoder := json.NewEncoder(&out)
		for _, a := range answers {
			if err := encoder.Encode(a); err != nil {
				return 0, nil, err
			}
		}
		return http.StatusOK, out.Bytes(), nil
	})
}
