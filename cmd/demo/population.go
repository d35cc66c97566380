// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/seinhuis/seinhuis/crypto/encoding"
)

// maxChildren keeps the population within the BSNs that nobody has.
const maxChildren = 12_000

// A Child is one synthetic child in the clear: what the professionals know, and
// nobody between them may learn. INSZ numbers go by the date that is in them.
type Child struct {
	ID     string        `json:"id"`
	Kind   string        `json:"numberKind"` // bsn or insz, as the gateway's API says it
	Number string        `json:"number"`     // digits only
	Birth  encoding.Date `json:"birthDate"`
	Note   string        `json:"note,omitempty"`
}

// A census hands out synthetic people, each number once. The same seed and the
// same day give the same people.
type census struct {
	rng   *rand.Rand
	today encoding.Date
	bsns  []string
	given map[string]bool // INSZ numbers
}

func newCensus(seed uint64, today encoding.Date) *census {
	c := &census{rng: rand.New(rand.NewPCG(seed, 0)), today: today, given: map[string]bool{}}
	// 9999 opens the BSNs that RvIG gives out for tests: nobody has one.
	for n := range 100_000 {
		if bsn := fmt.Sprintf("9999%05d", n); elevenTest(bsn) {
			c.bsns = append(c.bsns, bsn)
		}
	}
	c.rng.Shuffle(len(c.bsns), func(i, j int) { c.bsns[i], c.bsns[j] = c.bsns[j], c.bsns[i] })
	return c
}

// elevenTest is written down here once more, so that a fault in the gateway's
// own check cannot hide in the population.
func elevenTest(bsn string) bool {
	sum := 0
	for i, weight := range []int{9, 8, 7, 6, 5, 4, 3, 2, -1} {
		sum += weight * int(bsn[i]-'0')
	}
	return sum%11 == 0
}

func (c *census) bsn() string {
	last := len(c.bsns) - 1
	bsn := c.bsns[last]
	c.bsns = c.bsns[:last]
	return bsn
}

// insz makes a number for the date; raise is 0, or 20 or 40 for a BIS number.
// Month and day can be 0 where they are not known.
func (c *census) insz(year, month, day, raise int) string {
	for {
		nine := fmt.Sprintf("%02d%02d%02d%03d", year%100, month+raise, day, 1+c.rng.IntN(997))
		digits := nine
		if year >= 2000 {
			digits = "2" + nine
		}
		n := 0
		for _, d := range digits {
			n = (10*n + int(d-'0')) % 97
		}
		number := fmt.Sprintf("%s%02d", nine, 97-n)
		if !c.given[number] {
			c.given[number] = true
			return number
		}
	}
}

// bornIn draws a day of a year, none of them after today.
func (c *census) bornIn(year int) encoding.Date {
	last := encoding.Date{Year: year, Month: time.December, Day: 31}
	if last.Compare(c.today) > 0 {
		last = c.today
	}
	first := encoding.Date{Year: year, Month: time.January, Day: 1}
	days := int(last.In(time.UTC).Sub(first.In(time.UTC)).Hours()/24) + 1
	return first.AddDate(0, 0, c.rng.IntN(days))
}

// child makes the i-th child, from 0. The years follow each other, so that 23
// children are of all birth years; the kinds of numbers do too.
func (c *census) child(i int) *Child {
	child := &Child{ID: fmt.Sprintf("child-%04d", i+1)}
	age := i % 23
	child.Birth = c.bornIn(c.today.Year - age)
	if i%40 == 22 {
		age, child.Birth = 22, c.today.AddDate(-23, 0, 3+c.rng.IntN(30))
		child.Note = "turns 23 within weeks"
	}
	switch i % 7 {
	case 1, 4:
		child.Kind, child.Number = "insz", c.insz(child.Birth.Year, int(child.Birth.Month), child.Birth.Day, 0)
	case 6:
		child.Kind = "insz"
		raise, unknown := 20+20*c.rng.IntN(2), c.rng.IntN(3)
		switch {
		case unknown == 0 && 0 < age && age < 22:
			child.Note = "BIS number, day and month unknown"
			child.Birth = encoding.Date{Year: child.Birth.Year, Month: time.December, Day: 31}
			child.Number = c.insz(child.Birth.Year, 0, 0, raise)
		default:
			child.Note = "BIS number"
			child.Number = c.insz(child.Birth.Year, int(child.Birth.Month), child.Birth.Day, raise)
		}
	default:
		child.Kind, child.Number = "bsn", c.bsn()
	}
	return child
}

// adult makes somebody of 30 to 49.
func (c *census) adult() *Child {
	return &Child{Kind: "bsn", Number: c.bsn(), Birth: c.bornIn(c.today.Year - 31 - c.rng.IntN(19)), Note: "adult"}
}

// turns23 makes somebody whose 23rd birthday is today. On 29 February nobody has
// one: 23 years earlier there was no such day, so it is who had it yesterday.
func (c *census) turns23() *Child {
	birth := c.today.AddDate(-23, 0, 0)
	if birth.Day != c.today.Day {
		birth = birth.AddDate(0, 0, -1)
	}
	p := &Child{Kind: "insz", Birth: birth, Note: "turns 23 today"}
	p.Number = c.insz(birth.Year, int(birth.Month), birth.Day, 0)
	return p
}

// typed writes a number as people do.
func (c *census) typed(child *Child) string {
	n := child.Number
	switch {
	case c.rng.IntN(3) > 0:
		return n
	case child.Kind == "bsn":
		return n[:4] + "." + n[4:6] + "." + n[6:]
	case c.rng.IntN(2) == 0:
		return strings.Join([]string{n[:6], n[6:9], n[9:]}, " ")
	default:
		return n[:2] + "." + n[2:4] + "." + n[4:6] + "-" + n[6:9] + "." + n[9:]
	}
}

// birthDate is what is typed as the birth date: always for a BSN; for an INSZ
// number it can be left out, or differ from the number, which then holds.
func (c *census) birthDate(child *Child) string {
	if child.Kind == "insz" {
		switch c.rng.IntN(8) {
		case 0, 1:
			return ""
		case 2:
			if other := child.Birth.AddDate(0, 0, -1); other.Year == child.Birth.Year {
				return other.String()
			}
		}
	}
	return child.Birth.String()
}

// A Card is a contact card as the gateway's API has it.
type Card struct {
	Name      string `json:"name"`
	Role      string `json:"role"`
	Desk      string `json:"desk"`
	Phone     string `json:"phone"`
	Email     string `json:"email"`
	Reachable string `json:"reachable"`
}

var (
	givenNames = []string{"Noor", "Sem", "Fatma", "Jürgen", "Zoë", "Lieve", "Ömer", "Anneke", "Thijs", "Inès"}
	surnames   = []string{"de Vries", "Jansen", "Yılmaz", "Van den Broeck", "El Amrani", "Peeters", "Nguyễn", "Dijkstra", "Claes", "Öztürk"}
	desks      = []string{"Team Noord", "Team Zuid", "Wijkteam Centrum", "Zorgteam", "Bureau dienst"}
	hours      = []string{"ma, di en do 9-17 uur", "werkdagen 8.30-12 uur", "di en vr, of laat een bericht achter", ""}
)

// card makes a contact card that no other has: the phone number and the address
// carry n.
func (c *census) card(p Party, n int) *Card {
	pick := func(of []string) string { return of[c.rng.IntN(len(of))] }
	return &Card{
		Name:      pick(givenNames) + " " + pick(surnames),
		Role:      p.Role,
		Desk:      pick(desks),
		Phone:     fmt.Sprintf("+31 20 55%05d", n),
		Email:     fmt.Sprintf("contact%d@%s.example", n, p.Folder),
		Reachable: pick(hours),
	}
}
