// SPDX-License-Identifier: EUPL-1.2

package logging

// Fields are the fields of an event, and what each value may be.
type Fields map[string]Kind

// Events are all that may be logged, by message: what is not here is not written.
// docs/operations.md has a row for each.
var Events = map[string]Fields{
	// Every program.
	"listening": {
		"api": Address, "metrics": Address, "exchange": Address, "evaluation": Address, "public": Address, "operations": Address,
		"evaluator": Number, "manifest": Number,
	},
	"stopped":              {},
	"next cohort missing":  {"cohort": Number},
	"keys in clear":        {},
	"reloaded":             {"manifest": Number, "directory": Number},
	"reload refused":       {"cause": Failure},
	"certificate replaced": {"use": Word, "party": PartyID},
	"certificate refused":  {"use": Word, "party": PartyID, "cause": Failure},
	"pebble":               {"what": Format, "cause": Failure},
	"request refused":      {"route": Route, "code": Word, "cause": Failure},

	// The registry.
	"not measured":              {"cause": Failure},
	"swept":                     {"children": Number},
	"read-only":                 {"reason": Word},
	"no longer read-only":       {"reason": Word},
	"disk not looked at":        {"cause": Failure},
	"log stopped":               {"cause": Failure},
	"log goes on":               {},
	"rows under the newest key": {}, // and a gateway

	// An evaluator: sums over a whole minute.
	"share missing":             {"epoch": Number, "cohort": Number},
	"replaced shares kept":      {"shares": Number},
	"shares sealed":             {"shares": Number},
	"key destroyed":             {"epoch": Number, "cohort": Number},
	"destroyed key put back":    {"epoch": Number, "cohort": Number},
	"key not destroyed":         {"epoch": Number, "cohort": Number, "cause": Failure},
	"certificate not signed":    {"cause": Failure},
	"certificate not delivered": {"cause": Failure},
	"certificate delivered":     {"epoch": Number, "cohort": Number},
	"minute": {
		"elements": Number, "answered": Number, "unauthenticated": Number, "epoch": Number, "sharing": Number,
		"element": Number, "budget": Number, "malformed": Number, "fault": Number,
	},

	"log forked":              {"cause": Failure},
	"checkpoint not cosigned": {"reason": Word, "cause": Failure},
	"not a witness":           {},

	// The registry and evaluators: a party's, never a child's.
	"unusual use":       {"kind": Word, "party": PartyID},
	"use not looked at": {"cause": Failure},

	// A gateway.
	"rows not sealed anew":                        {"cause": Failure},
	"not healthy":                                 {"status": Number, "cause": Failure},
	"request failed":                              {"route": Route, "cause": Failure},
	"no manifest and directory in force":          {},
	"manifest and directory not refreshed":        {"cause": Failure},
	"manifest or directory refused":               {"path": Route, "cause": Failure},
	"the directory does not have this key":        {"party": PartyID, "use": Word, "key": ID},
	"evaluator not used":                          {"evaluator": Number, "reason": Word, "cause": Failure},
	"registry refused":                            {"party": PartyID, "job": ID, "code": Word},
	"registry does not know this party's tls key": {"party": PartyID, "code": Word},
	"lost signals not looked after":               {"party": PartyID, "cause": Failure},
	"signals lost with a compromised epoch":       {"party": PartyID, "count": Number},
	"registry was restored":                       {"party": PartyID, "jobs": Number},
	"resend not taken":                            {"party": PartyID, "job": ID, "code": Word},
	"receipt refused":                             {"party": PartyID, "job": ID, "cause": Failure},
	"import refused; signals go one by one":       {"party": PartyID, "code": Word},
	"feed not read":                               {"party": PartyID, "code": Word, "cause": Failure},
	"event not verified":                          {"party": PartyID, "event": ID, "problem": Word},
	"job not done":                                {"party": PartyID, "cause": Failure},
	"sweep failed":                                {"party": PartyID, "cause": Failure},
	"delivery given up":                           {"party": PartyID, "target": ID, "kind": Word, "result": Word},
	"subscription turned off":                     {"party": PartyID, "target": ID, "reason": Word},
	"messages lapsed":                             {"party": PartyID, "target": ID, "kind": Word, "count": Number},
	"delivery not begun":                          {"party": PartyID, "cause": Failure},
	"delivery not recorded":                       {"party": PartyID, "cause": Failure},
	"delivery not measured":                       {"party": PartyID, "cause": Failure},
	"identity in the queue not readable":          {"party": PartyID, "cause": Failure},
	"log alarm":                                   {"reason": Word, "cause": Failure},
	"log alarm ended":                             {"reason": Word},
	"log fork cleared":                            {},
	"log not checked":                             {"cause": Failure},
	"leaves lost in a restore":                    {"party": PartyID, "count": Number},
}
