// Package core decides what happens to one service: Step takes what is (State),
// what happened (Event) and the time, and says what is next (State) and what
// must be done (Actions). It is pure: no os, no clock, no goroutine, no
// allocation. An action is data and is always answered by an event.
//
// # What Step promises
//
// It never asks for a second run while one lives, gives every run a number above
// all before, and signals nothing that does not live. A wanted service is always
// on its way up unless it is Finished or Failed; an unwanted one is down or being
// ended. Whatever waits has a Deadline or an answer due. News of an old run, a
// double answer and a late or double tick change nothing. Tests walk every
// reachable state to hold it to that.
//
// # What the caller does
//
// After each Step, store the new State, then do the Actions in order, then set
// its one timer to the earliest Deadline and send EvTick when that has passed.
//
// A new caller loads each stored State (a zero State if there is none) and tells
// first what it found: EvAdopted for a run that lives, EvExited for an end that
// nobody was told yet, EvLost otherwise. Actions that died with the last caller
// are asked for again by the answer to these. Only then come wishes.
//
// Wishes follow FORMAT.md, "Wishes, desires and orders": this package sees one
// service, so "wanted" here is what is left after other services, triggers and
// disable have had their say.
package core
