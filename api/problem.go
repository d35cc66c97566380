// SPDX-License-Identifier: EUPL-1.2

package api

import (
	"errors"
	"net/http"
	"time"
)

// A Code names a refusal of an evaluator or the registry. It is the last part of
// the problem's type, urn:seinhuis:problem:<code>.
type Code string

// Refusals. Their statuses and texts stand in one table, below; texts are fixed
// and never repeat what was sent.
const (
	CodeMalformed       Code = "malformed"
	CodeTooLarge        Code = "too-large"
	CodeMediaType       Code = "media-type"
	CodeNotAcceptable   Code = "not-acceptable"
	CodeNotFound        Code = "not-found"
	CodeMethod          Code = "method-not-allowed"
	CodeUnauthenticated Code = "unauthenticated"
	CodeForbidden       Code = "forbidden"
	CodeSignature       Code = "signature"
	CodeDeployment      Code = "deployment"
	CodeIssued          Code = "issued"
	CodeExpires         Code = "expires"
	CodeFaces           Code = "faces"
	CodeUnsupported     Code = "unsupported"
	CodeLegalBasis      Code = "legal-basis"
	CodeRevision        Code = "revision"
	CodeTag             Code = "tag"
	CodeUnknownSignal   Code = "unknown-signal"
	CodeGone            Code = "gone"
	CodeMatch           Code = "match"
	CodeHandover        Code = "handover"
	CodeElement         Code = "element"
	CodeEpoch           Code = "epoch"
	CodeSharing         Code = "sharing"
	CodeBudget          Code = "budget"
	CodeUnknownLog      Code = "unknown-log"
	CodeLogSignature    Code = "log-signature"
	CodeConsistency     Code = "consistency"
	CodeUnavailable     Code = "unavailable"
	CodeInternal        Code = "internal"
)

// Refusal is the status and the fixed text that belong to a Code.
type Refusal struct {
	Status int
	Title  string
	Detail string
}

var refusals = map[Code]Refusal{
	CodeMalformed:       {http.StatusBadRequest, "Malformed request", "The request is not what the description of this operation asks for. Correct what errors names; where it names nothing, the signed bytes are not of the form in docs/spec.md."},
	CodeTooLarge:        {http.StatusRequestEntityTooLarge, "Request too large", "The body is over the limit of this operation. Send less at a time."},
	CodeMediaType:       {http.StatusUnsupportedMediaType, "Unsupported media type", "Send the body in the media type that this operation describes, without Content-Encoding."},
	CodeNotAcceptable:   {http.StatusNotAcceptable, "Not acceptable", "Accept admits nothing that this operation could answer. Refusals are application/problem+json whatever it says."},
	CodeNotFound:        {http.StatusNotFound, "Not found", "There is nothing at this path. Paths have no trailing slash."},
	CodeMethod:          {http.StatusMethodNotAllowed, "Method not allowed", "The Allow header lists the methods of this path."},
	CodeUnauthenticated: {http.StatusUnauthorized, "Unknown client certificate", "The certificate's key is not one of those who may ask this: a current tls key of a party in the directory or, for usage, of an evaluator in the manifest."},
	CodeForbidden:       {http.StatusForbidden, "Not yours", "The statement names another party than the one whose certificate is used."},
	CodeSignature:       {http.StatusBadRequest, "Signature refused", "The signature does not verify under the named key, or that key is not a current signing key of the party in the directory."},
	CodeDeployment:      {http.StatusBadRequest, "Another deployment", "The statement is for another deployment than this one."},
	CodeIssued:          {http.StatusBadRequest, "Issued outside the window", "issued lies more than 30 days back or more than 10 minutes ahead. Check the clock and sign again."},
	CodeExpires:         {http.StatusBadRequest, "Expiry outside the policy", "expires must lie after today and at most two years and a day ahead."},
	CodeFaces:           {http.StatusBadRequest, "Faces do not fit", "faces must carry, in order, one card and one keybox per face of the statement, with the hashes that the statement names."},
	CodeUnsupported:     {http.StatusBadRequest, "Not supported", "This registry does not take this act or field."},
	CodeLegalBasis:      {http.StatusForbidden, "Legal basis ended", "The legal basis of this deployment has ended. Signals can be withdrawn; none are taken."},
	CodeRevision:        {http.StatusConflict, "Revision conflict", "rev must be one more than the stored revision for a statement, and the stored revision for an act; the same rev with other bytes is refused."},
	CodeTag:             {http.StatusConflict, "Tags changed", "A revision keeps the tags of the signal. An act carries the tag of the oldest open epoch: fetch the newest manifest, and sign it anew if its tag is another."},
	CodeUnknownSignal:   {http.StatusNotFound, "No such signal", "The party has no signal with this sid under this tag."},
	CodeGone:            {http.StatusGone, "Signal ended", "The signal was withdrawn, expired, handed over or removed. A new signal needs a new sid."},
	CodeMatch:           {http.StatusConflict, "Not in that match", "The party's signal is not, or no longer, in a match with this id that the other signal is in."},
	CodeHandover:        {http.StatusConflict, "No such handover", "The signal that takesOver names is not of this child, or its party has not given it to this one, or no longer. Ask the giver, or register without takesOver."},
	CodeElement:         {http.StatusBadRequest, "Element refused", "elements must be 1 to 64 canonical ristretto255 encodings of 32 bytes, none of them the identity."},
	CodeEpoch:           {http.StatusConflict, "Epoch or cohort not open", "The epoch or cohort is not open here. Fetch the newest manifest."},
	CodeSharing:         {http.StatusConflict, "Another sharing", "The keys are shared anew. Fetch the newest manifest."},
	CodeBudget:          {http.StatusTooManyRequests, "Budget spent", "The party's budget or quota is spent. Retry-After says when there is more."},
	CodeUnknownLog:      {http.StatusNotFound, "Unknown log", "The manifest names no such log, or nothing of it was cosigned here."},
	CodeLogSignature:    {http.StatusForbidden, "Not signed by the log", "The checkpoint has no signature under the log's key in the manifest."},
	CodeConsistency:     {http.StatusUnprocessableEntity, "Not consistent", "The proof does not show that the checkpoint goes on from the one that was cosigned last."},
	CodeUnavailable:     {http.StatusServiceUnavailable, "Unavailable", "Try again later."},
	CodeInternal:        {http.StatusInternalServerError, "Internal error", "The fault is ours and has been logged. Try again later."},
}

// Refusal gives the status and fixed text of a code.
func (c Code) Refusal() Refusal {
	if r, ok := refusals[c]; ok {
		return r
	}
	return refusals[CodeInternal]
}

// An Error is a refusal with its cause. The cause is for the log of the side that
// refuses; the other side gets the code and its fixed text.
type Error struct {
	Code       Code
	Cause      error
	RetryAfter time.Duration // when asking again makes sense; zero says nothing
	Faults     []Fault       // all that is wrong with the input, with CodeMalformed
}

// Refuse makes an Error; cause may be nil.
func Refuse(code Code, cause error) error { return &Error{Code: code, Cause: cause} }

// RefuseFor makes an Error that says when to ask again.
func RefuseFor(code Code, cause error, wait time.Duration) error {
	return &Error{Code: code, Cause: cause, RetryAfter: wait}
}

// RefuseInput makes an Error of CodeMalformed that tells what is wrong with the input.
func RefuseInput(faults []Fault) error { return &Error{Code: CodeMalformed, Faults: faults} }

func (e *Error) Error() string {
	if e.Cause == nil {
		return string(e.Code)
	}
	return string(e.Code) + ": " + e.Cause.Error()
}

func (e *Error) Unwrap() error { return e.Cause }

// CodeOf finds the code in an error; CodeInternal when it holds none.
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return CodeInternal
}

// A Problem is the body of a refusal: application/problem+json (RFC 9457).
type Problem struct {
	Type   string  `json:"type"`
	Title  string  `json:"title"`
	Status int     `json:"status"`
	Detail string  `json:"detail"`
	Errors []Fault `json:"errors,omitempty"`
}

// Rules of the description that input can break: the Code of a Fault.
const (
	FaultMissing      = "missing"       // it has to be there, and not empty
	FaultForm         = "form"          // another type, pattern, bound or format; or not JSON as it is read here
	FaultLength       = "length"        // too long, or too many
	FaultDate         = "date"          // no date
	FaultUnknownField = "unknown-field" // a field that there is not
	FaultUnknownValue = "unknown-value" // none of the values that there are
)

// A Fault is one fault of the input: where it is, which field, and which rule
// it breaks. It never holds the value.
type Fault struct {
	In     string `json:"in"`   // body, query, path or header
	Name   string `json:"name"` // a parameter, or the place in the body from the outside in: elements.3
	Code   string `json:"code"`
	Detail string `json:"detail,omitempty"`
}

// ProblemType is the URN that stands for a code.
func ProblemType(code string) string { return "urn:seinhuis:problem:" + code }

// Problem is the body that tells a code.
func (c Code) Problem() Problem {
	r := c.Refusal()
	return Problem{Type: ProblemType(string(c)), Title: r.Title, Status: r.Status, Detail: r.Detail}
}
