// SPDX-License-Identifier: EUPL-1.2

package exchange

import (
	"context"
	"time"
)

// Look is what Keep does now and then.
func (s *Server) Look(ctx context.Context, looked time.Time) (time.Time, error) {
	return s.look(ctx, looked)
}
