package main

import "github.com/abide-project/abide/internal/state"

// requests is RUN/requests as the engine's port.
type requests struct {
	*state.Journal
	kept [][]byte
}

const requestsFile = "requests"

func openRequests(run *state.Dir, boot string, say func(string)) (*requests, error) {
	journal, kept, problem, err := state.OpenJournal(run, requestsFile, boot)
	if problem != nil {
		say(problem.Error())
	}
	if err != nil {
		return nil, err
	}
	return &requests{Journal: journal, kept: kept}, nil
}

// All returns what former engines wrote, once.
func (r *requests) All() [][]byte {
	kept := r.kept
	r.kept = nil
	return kept
}
