// SPDX-License-Identifier: EUPL-1.2

// Package gateway is a party's side of Seinhuis: the only place where an
// identity is in the clear. One gateway serves one party or several, apart from
// each other: every row, key, token, connection and loop belongs to one party.
//
// A professional's act becomes a [Registration] and, in the same batch, a job.
// The job goes through its stages in the party's worker, and every stage is on
// disk before the next begins:
//
//	waiting    the identity, sealed, is all there is
//	           evaluators: blind, evaluate, verify each proof, combine
//	prepared   the statement's very bytes, card and keybox; the identity is erased
//	           registry: submit, again and again, the same bytes
//	(no job)   the receipt is verified; the signal's row is written and the job
//	           deleted in one batch
//
// So a crash at any moment loses nothing, and repeats nothing that the registry
// does not recognise: (party, sid, rev) with the same bytes is the same statement.
// What evaluators answered is kept in memory until there is enough of it, because
// they debit what they answer.
//
// # The queue
//
// Where each job stands is in memory (queue.go); its row is read when its turn has
// come. A turn is one request's worth: up to 64 identities of one cohort, one act, one
// signal, or up to a thousand signals when there are many. Turns run side by side and
// choose at random, so nothing that waits for a server or a colleague holds up
// anything else, and nobody learns the order of arrival. What somebody waits for goes
// before what comes from an import.
//
// # Registrations and signals
//
// A registration (aanmelding) is one professional's signal of one child. A
// [Signal] is what stands at the registry, one per party and child. The owners of
// a signal are exactly the registrations that point to its sid. When the registry
// answers a submission with another sid, the party signals that child already,
// and the registration points there. The signal is withdrawn when its last owner
// goes. The same professional with the same reference is the same owner: such a
// registration points to the earlier one instead.
//
// # Who asks
//
// Whoever asks is an [Access]: an API key, a client with an access token, or the bootstrap
// key of the configuration. It has roles, held against the operation by package rest, and
// a reach, held here: what its methods do not find is not there for it. What was read or
// changed is in the log of access, in the batch of the act itself or before the answer.
// Methods of [Party] ask nobody: they are for the gateway itself.
//
// # Imports
//
// An [Import] is a file of signals that comes in chunks. A chunk is one batch: its
// rows' registrations and jobs, what became of each row at once, and the import's
// counts. Rows are numbered without a gap, so a client that lost an answer sends the
// same chunk again, and one that starts anew asks how many rows there are. The batch
// that ends a row's job counts its outcome: how an import gets on is one row to read.
// In all else a row is a signal that came alone.
//
// # What comes in
//
// A party's feed is polled, and each event is verified from the bottom up: our own
// signature over our own statement, the keybox by its hash, the token in it, the
// other party's card by its key in the directory. What does not verify is kept in
// the inbox with the reason, and counted; it stops nothing.
//
// # What goes on
//
// The inbox is also the queue to case systems and people: a [Target] is a cursor in
// it. A subscription gets each message as a webhook, in order, one after the other;
// what cannot be delivered for three days becomes a [DeadLetter], and the next goes on.
// The cursor moves when the receiver has answered, and on disk; so a crash delivers
// again, and loses nothing. A recipient of mail is told once of everything that came
// within a while; to whom that is, is in the batch that keeps the message. Each target
// goes by itself, and nothing of a target is in memory but that it is being sent to.
//
// # Matches
//
// A [Match] is the network around one child, as the inbox tells it of one of our
// signals. It is written in the batch that keeps the messages, by what verified in
// them, and ends with the signal at the latest. What we answer is a job: signed once
// and sent until there is a receipt, or until the match is over; a later answer gives
// way to none that was signed before it, so the last word is the last that arrives.
//
// # Trust
//
// The pins in the configuration are the root. The manifest and the directory are
// verified against them wherever they come from, and the highest versions seen
// stay in the store; lower ones are refused.
//
// # At rest
//
// Every row is sealed under the storage key, which lies outside the data folder.
// keys.go is the whole key schema. Whoever holds both reads what the party itself
// may know: its references, its cards, and those of its matches. A national number
// is there only while its job waits.
package gateway
