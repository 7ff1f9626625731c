// Package e2e holds the end-to-end tests: they run abide's own programs around
// real ones, kill what can be killed, and give bad input and bad weather. They
// need root on Linux and the packages of test/install-deps.sh. There is nothing
// here but tests.
package e2e
