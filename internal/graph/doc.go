// Package graph decides how services depend on each other: who is pulled up, who
// may start, who must end, and in which order. It knows names, edges and facts,
// and says orders. It is pure: no os, no clock, no goroutine.
//
// # What it promises
//
// Every verdict follows from the facts alone. Whoever sets the same facts, in
// whatever order and in however many goes, gets the same verdicts, so a new engine
// comes to what the old one had decided. Wishes spread before anything acts. What
// is Allowed has what it requires; what must end is told to when everything that
// was started after it, and must end as well, is down. Whatever waits has a reason
// that Waits can name. The cost of Settle is in proportion to the edges of what
// changed, however many others lean on it.
//
// # What the caller does
//
// It sets the facts of a service after each step of it, then calls Settle, and
// carries out the orders. Facts may be set from within the order function. A Need
// has to be answered by facts that say Wanted, or Stopped if it is refused.
//
// # What it must not do
//
// It remembers nothing but what it said last, so that it says everything once. It
// does not follow cycles: services on one are held for ever and named by Cycles.
package graph
