// Command bench measures abide side by side with a C loop that does nothing but
// vfork and waitpid, and with the supervisors that Debian ships. Everything is
// measured in one run and in alternating rounds, so that the ratios hold on
// other machines although the times do not. It asserts nothing about speed: it
// prints a table and writes JSON, and fails only when something did not work.
package main
