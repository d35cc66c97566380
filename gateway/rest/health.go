// SPDX-License-Identifier: EUPL-1.2

package rest

import (
	"github.com/seinhuis/seinhuis/api/edge"
	"github.com/seinhuis/seinhuis/gateway"
)

// The words of health, in Dutch as all of this API.
var (
	healthWords = map[edge.HealthStatus]GezondheidStatus{
		edge.HealthOK: GezondheidStatusOk, edge.HealthWarning: GezondheidStatusLetOp, edge.HealthFault: GezondheidStatusFout,
	}
	partNames = map[string]OnderdeelNaam{
		"store": OnderdeelNaamOpslag, "manifest": OnderdeelNaamManifest, "directory": OnderdeelNaamGids, "cohort": OnderdeelNaamGeboortejaar, "registry": OnderdeelNaamRegister, "evaluators": OnderdeelNaamSleutelhouders, "queue": OnderdeelNaamWachtrij,
		"log": OnderdeelNaamLogboek, "lost": OnderdeelNaamOpnieuwAanmelden,
	}
	partCodes = map[string]OnderdeelCode{
		edge.PartOK: OnderdeelCodeOk, edge.PartFault: OnderdeelCodeFout, edge.PartMissing: OnderdeelCodeOntbreekt, edge.PartExpired: OnderdeelCodeVerlopen,
		edge.PartEnds: OnderdeelCodeEindigt, edge.PartLate: OnderdeelCodeAchter, gateway.PartUnreachable: OnderdeelCodeOnbereikbaar,

		string(gateway.LogFaultSignature): OnderdeelCodeHandtekening, string(gateway.LogFaultWitnesses): OnderdeelCodeGetuigen,
		string(gateway.LogFaultSmaller): OnderdeelCodeKleiner, string(gateway.LogFaultForked): OnderdeelCodeVertakt,
		string(gateway.LogFaultStale): OnderdeelCodeVerouderd, string(gateway.LogFaultManifest): OnderdeelCodeManifest,
		string(gateway.LogFaultDirectory): OnderdeelCodeGids, string(gateway.LogFaultReceipt): OnderdeelCodeBevestiging,
	}
)

func healthOf(h edge.Health) Gezondheid {
	body := Gezondheid{Status: healthWords[h.Status], Onderdelen: []Onderdeel{}}
	for _, part := range h.Parts {
		body.Onderdelen = append(body.Onderdelen, Onderdeel{Naam: partNames[part.Name], Code: partCodes[part.Code]})
	}
	return body
}
