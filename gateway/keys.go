// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"

	"github.com/seinhuis/seinhuis/api"
)

// All keys of the store. The first byte is the table; P is the party, the first
// 16 bytes of SHA-256(party id); ids are 16 bytes. Values are sealed JSON rows.
//
//	m                          the store's format
//	K                          finders
//	M                          the manifest's note, the highest version seen
//	D                          the directory's note, the highest version seen
//	r P registration           Registration
//	s P sid                    Signal
//	o P sid registration       nothing: the registration owns the signal
//	O P sid                    the registrations that owned the signal, and were the last to go
//	j P job                    Job
//	n P report                 Report
//	k P H(report's reference)  the id of the first report with that reference, and of the last
//	p P import                 Import
//	q P H(import's reference)  the id of the latest import with that reference
//	w P import row             importRows; the chunk's last row, u32 big-endian
//	i P H(idempotency key)     replay
//	e P seq(8, big-endian)     Message
//	E P sid seq                nothing: the Message is about our signal
//	d P event id               the seq of the event's message
//	c P                        feedState
//	g P H(owner) registration  nothing: the professional owns the registration
//	u P H(user)                User
//	t P id                     APIKey
//	a P id                     LogRow
//	x P H(who or what) id      nothing: a LogRow about a professional, an object or a sid
//	b P id                     Transfer
//	z P transfer registration  nothing: the registration is in the transfer
//	v P target                 Target
//	f P target seq             DeadLetter; of the message with that seq, 8 bytes
//	y P id                     Match
//	l P match                  the id of the Match that the registry has, or had, under this name
//	h P sid id                 nothing: the Match is our signal's
//	G P sid                    Offer; by the giver's sid
//	R P H(reference) reg.      nothing: the registration is lost
//	L                          logState
//	U P leaf                   owedLeaf; by the leaf's hash, 32 bytes
//
// Registrations, jobs, reports, imports and matches have ids that grow with time, so a scan is in
// order of arrival. H is HMAC-SHA-256[:16] under the index key among
// the finders: a file number can be guessed, its HMAC not.
const (
	tableFormat       = 'm'
	tableFinders      = 'K'
	tableManifest     = 'M'
	tableDirectory    = 'D'
	tableRegistration = 'r'
	tableSignal       = 's'
	tableOwner        = 'o'
	tableLeft         = 'O'
	tableJob          = 'j'
	tableReport       = 'n'
	tableReportKey    = 'k'
	tableImport       = 'p'
	tableImportKey    = 'q'
	tableImportRows   = 'w'
	tableReplay       = 'i'
	tableMessage      = 'e'
	tableMessageOn    = 'E'
	tableEvent        = 'd'
	tableFeed         = 'c'
	tableOwned        = 'g'
	tableUser         = 'u'
	tableAPIKey       = 't'
	tableLog          = 'a'
	tableLogIndex     = 'x'
	tableTransfer     = 'b'
	tableTransferItem = 'z'
	tableTarget       = 'v'
	tableDeadLetter   = 'f'
	tableMatch        = 'y'
	tableMatchName    = 'l'
	tableMatchOn      = 'h'
	tableOffer        = 'G'
	tableCheckpoint   = 'L'
	tableLeaf         = 'U'
	tableLost         = 'R'
)

// partyKey is a party's part of every key.
type partyKey [16]byte

func partyKeyOf(id api.PartyID) partyKey {
	h := sha256.Sum256([]byte(id))
	return partyKey(h[:16])
}

func join(table byte, parts ...[]byte) []byte {
	k := []byte{table}
	for _, p := range parts {
		k = append(k, p...)
	}
	return k
}

func keyFormat() []byte     { return join(tableFormat) }
func keyFinders() []byte    { return join(tableFinders) }
func keyManifest() []byte   { return join(tableManifest) }
func keyDirectory() []byte  { return join(tableDirectory) }
func keyCheckpoint() []byte { return join(tableCheckpoint) }

func (p partyKey) registration(id ID) []byte { return join(tableRegistration, p[:], id[:]) }
func (p partyKey) signal(sid api.SID) []byte { return join(tableSignal, p[:], sid[:]) }
func (p partyKey) owner(sid api.SID, id ID) []byte {
	return join(tableOwner, p[:], sid[:], id[:])
}
func (p partyKey) offer(sid api.SID) []byte  { return join(tableOffer, p[:], sid[:]) }
func (p partyKey) owners(sid api.SID) []byte { return join(tableOwner, p[:], sid[:]) }
func (p partyKey) left(sid api.SID) []byte   { return join(tableLeft, p[:], sid[:]) }
func (p partyKey) job(id ID) []byte          { return join(tableJob, p[:], id[:]) }
func (p partyKey) report(id ID) []byte       { return join(tableReport, p[:], id[:]) }
func (p partyKey) reportKey(h [16]byte) []byte {
	return join(tableReportKey, p[:], h[:])
}
func (p partyKey) imported(id ID) []byte { return join(tableImport, p[:], id[:]) }
func (p partyKey) importKey(h [16]byte) []byte {
	return join(tableImportKey, p[:], h[:])
}
func (p partyKey) importRows(id ID, last int) []byte {
	return binary.BigEndian.AppendUint32(join(tableImportRows, p[:], id[:]), uint32(last))
}
func (p partyKey) allImportRows(id ID) []byte { return join(tableImportRows, p[:], id[:]) }
func (p partyKey) replay(h [16]byte) []byte   { return join(tableReplay, p[:], h[:]) }
func (p partyKey) message(seq uint64) []byte {
	return join(tableMessage, p[:], binary.BigEndian.AppendUint64(nil, seq))
}
func (p partyKey) messageOn(sid api.SID, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(join(tableMessageOn, p[:], sid[:]), seq)
}
func (p partyKey) messagesOn(sid api.SID) []byte { return join(tableMessageOn, p[:], sid[:]) }
func (p partyKey) event(id api.EventID) []byte   { return join(tableEvent, p[:], id[:]) }
func (p partyKey) feed() []byte                  { return join(tableFeed, p[:]) }
func (p partyKey) logRow(id ID) []byte           { return join(tableLog, p[:], id[:]) }

func (p partyKey) user(h [16]byte) []byte     { return join(tableUser, p[:], h[:]) }
func (p partyKey) apiKey(id ID) []byte        { return join(tableAPIKey, p[:], id[:]) }
func (p partyKey) transfer(id ID) []byte      { return join(tableTransfer, p[:], id[:]) }
func (p partyKey) transferItems(id ID) []byte { return join(tableTransferItem, p[:], id[:]) }
func (p partyKey) transferItem(id, reg ID) []byte {
	return join(tableTransferItem, p[:], id[:], reg[:])
}
func (p partyKey) logAbout(h [16]byte) []byte { return join(tableLogIndex, p[:], h[:]) }
func (p partyKey) ownedBy(h [16]byte) []byte  { return join(tableOwned, p[:], h[:]) }

func (p partyKey) target(id ID) []byte      { return join(tableTarget, p[:], id[:]) }
func (p partyKey) deadLetters(id ID) []byte { return join(tableDeadLetter, p[:], id[:]) }
func (p partyKey) deadLetter(id ID, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(p.deadLetters(id), seq)
}

func (p partyKey) match(id ID) []byte              { return join(tableMatch, p[:], id[:]) }
func (p partyKey) matchID(name api.MatchID) []byte { return join(tableMatchName, p[:], name[:]) }
func (p partyKey) matchesOn(sid api.SID) []byte    { return join(tableMatchOn, p[:], sid[:]) }
func (p partyKey) matchOn(sid api.SID, id ID) []byte {
	return join(tableMatchOn, p[:], sid[:], id[:])
}

func (p partyKey) leaf(h api.Hash) []byte { return join(tableLeaf, p[:], h[:]) }

func (p partyKey) lostUnder(h [16]byte) []byte       { return join(tableLost, p[:], h[:]) }
func (p partyKey) lostItem(h [16]byte, id ID) []byte { return join(tableLost, p[:], h[:], id[:]) }

// table is the prefix of all rows of a party in a table.
func (p partyKey) table(table byte) []byte { return join(table, p[:]) }

// idAt reads the last id of a key.
func idAt(key []byte) ID { return ID(key[len(key)-16:]) }

// after is the first key behind all keys with the prefix.
func after(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}

// indexKey hides what can be guessed from whoever reads the store's keys.
type indexKey [32]byte

func (k indexKey) of(use string, party partyKey, value string) [16]byte {
	mac := hmac.New(sha256.New, k[:])
	mac.Write(join(byte(len(use)), []byte(use), party[:], []byte(value)))
	return [16]byte(mac.Sum(nil)[:16])
}
