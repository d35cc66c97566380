// SPDX-License-Identifier: EUPL-1.2

package exchange

import (
	"context"
)

// TakeCertificate takes an evaluator's certificate of a destroyed key into the log.
func (o operations) TakeCertificate(ctx context.Context, r TakeCertificateRequestObject) (TakeCertificateResponseObject, error) {
	return TakeCertificate204Response{}, o.Matcher.Certify(ctx, []byte(*r.Body))
}
