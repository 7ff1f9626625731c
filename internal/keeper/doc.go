// Package keeper is the process that must not die: parent and subreaper of every
// service, or process 1. It spawns, reaps, signals and holds descriptors when the
// engine asks, records every run in RUN/keeper.state before the program runs, keeps
// every exit until it is acknowledged, and starts the engine again when that dies.
//
// It decides nothing: no restart, no order, no policy. It never blocks on the
// engine, a log or a full socket, allocates nothing on the way of a request, and
// takes any bytes from the engine without harm. Two threads do all work: the
// loop (epoll, spawns, exits) and the parent (the engine and orphans).
// docs/keeper.md has the whole story.
package keeper
