// SPDX-License-Identifier: EUPL-1.2

package edge

import (
	"net/http"
	"time"
)

// Health is the body of /health: readiness, in fixed words that anybody may read. That
// a part is alive shows from its answering at all.
type Health struct {
	Status HealthStatus `json:"status"`
	Parts  []HealthPart `json:"parts"`
}

// A HealthStatus is the worst of the parts.
type HealthStatus string

// A warning still is 200: it works, and somebody has to look at something. A fault is
// 503: all or some of what is asked is refused.
const (
	HealthOK      HealthStatus = "ok"
	HealthWarning HealthStatus = "warning"
	HealthFault   HealthStatus = "fault"
)

// A HealthPart is one thing that can be wrong, and how it is.
type HealthPart struct {
	Name string `json:"name"`
	Code string `json:"code"`
}

// Codes of parts.
const (
	PartOK      = "ok"
	PartFault   = "fault"   // it does not answer
	PartOther   = "other"   // the store's epoch is not the manifest's, or the log not what was signed
	PartExpired = "expired" // it is no longer in force
	PartEnds    = "ends"    // it is in force for two weeks more at most
	PartMissing = "missing"
	PartLate    = "late"
	PartLow     = "low"  // there is little room left
	PartHeld    = "held" // it is not believed
	PartBehind  = "behind"
)

// Add adds a part: with code ok, or as bad as status says, which is not bad where that is
// said only.
func (h *Health) Add(name, code string, status HealthStatus) {
	if h.Status == "" {
		h.Status = HealthOK
	}
	h.Parts = append(h.Parts, HealthPart{name, code})
	if code == PartOK || status == HealthOK || h.Status == HealthFault {
		return
	}
	h.Status = status
}

// AddUntil adds a part that is in force until an instant.
func (h *Health) AddUntil(name string, until, now time.Time) {
	switch {
	case now.After(until):
		h.Add(name, PartExpired, HealthFault)
	case until.Sub(now) < 14*24*time.Hour:
		h.Add(name, PartEnds, HealthWarning)
	default:
		h.Add(name, PartOK, HealthOK)
	}
}

// AddCohort adds whether there is a key for those who are born next year.
func (h *Health) AddCohort(missing bool) {
	if missing {
		h.Add("cohort", PartMissing, HealthWarning)
	} else {
		h.Add("cohort", PartOK, HealthOK)
	}
}

// HTTP is the status of the answer.
func (h *Health) HTTP() int {
	if h.Status == HealthFault {
		return http.StatusServiceUnavailable
	}
	return http.StatusOK
}
