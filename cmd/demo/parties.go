// SPDX-License-Identifier: EUPL-1.2

package main

import "github.com/seinhuis/seinhuis/api"

// A Party is an organisation of the demonstration. None of them exists.
type Party struct {
	ID     api.PartyID
	Folder string // of its keys; also a word for it in references and addresses
	Name   string
	Kind   string
	Region string
	Role   string // of the professional on its contact cards
	// Gateway is the place in gateways of the one that serves it.
	Gateway int
}

// gateways are the names of the gateways' state folders; the last one serves two
// small parties.
var gateways = []string{
	"gateway-school", "gateway-youth-health", "gateway-mental-health", "gateway-veilig-thuis",
	"gateway-vertrouwenscentrum", "gateway-municipality", "gateway-shared",
}

// veiligThuis is the place in parties of the one that sends in reports.
const veiligThuis = 3

var parties = []Party{
	{"nl-brin:99ZZ", "school", "Basisschool De Wissel", "school", "Utrecht", "intern begeleider", 0},
	{"nl-ura:99000001", "youth-health", "JGZ Midden", "youth-health", "Utrecht", "jeugdarts", 1},
	{"nl-agb:99000002", "mental-health", "Jeugd-ggz De Brug", "mental-health", "Utrecht", "behandelaar", 2},
	{"nl-oin:00000009900000003000", "veilig-thuis", "Veilig Thuis Midden", "veilig-thuis", "Utrecht", "vertrouwensarts", 3},
	{"be-kbo:0999000004", "vertrouwenscentrum", "Vertrouwenscentrum Kempen", "vertrouwenscentrum", "Antwerpen", "maatschappelijk werker", 4},
	{"nl-oin:00000009900000005000", "municipality", "Gemeente Seindam, jeugdloket", "municipality", "Utrecht", "consulent jeugd", 5},
	{"nl-kvk:99000006/noord", "practice-north", "Kindertherapie Noord", "mental-health", "Utrecht", "kindertherapeut", 6},
	{"nl-kvk:99000007", "childcare", "Kinderopvang De Seinpaal", "childcare", "Utrecht", "pedagogisch coach", 6},
}

// guest has keys and a place in the directory, and no gateway: it is for whoever
// tries a client of his own.
var guest = Party{ID: "nl-kvk:99000008", Folder: "guest", Name: "Gast", Kind: "school", Region: "Utrecht", Gateway: -1}
