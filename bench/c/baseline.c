/*
 * The floor: a loop that does nothing but start programs and start them again.
 *
 *     baseline COUNT PROGRAM FIFO
 *
 * runs COUNT copies of "PROGRAM FIFO SLOT" by vfork and execve, waits for any
 * of them and starts its successor. SIGTERM ends them all, in one sweep, and
 * then the loop. It keeps no log, no state and no order, and nobody can ask it
 * anything: no supervisor can be faster for long.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { HIGHEST_PID = 4 << 20 };

static volatile sig_atomic_t ending;
static int *slot_of; /* by pid; untouched pages cost nothing */
static pid_t *pid_of;

static void end(int signal)
{
	(void)signal;
	ending = 1;
}

static void start(char *program, char *fifo, int slot)
{
	char text[16];
	char *argv[] = { program, fifo, text, NULL };
	char *environment[] = { NULL };
	pid_t pid;

	snprintf(text, sizeof text, "%d", slot);
	pid = vfork();
	if (pid == 0) {
		execve(program, argv, environment);
		_exit(127);
	}
	if (pid < 0) {
		perror("vfork");
		exit(1);
	}
	slot_of[pid] = slot;
	pid_of[slot] = pid;
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = end };
	int count, slot;
	pid_t pid;

	if (argc != 4) {
		fputs("usage: baseline COUNT PROGRAM FIFO\n", stderr);
		return 2;
	}
	count = atoi(argv[1]);
	pid_of = calloc(count, sizeof *pid_of);
	slot_of = mmap(NULL, HIGHEST_PID * sizeof *slot_of, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (pid_of == NULL || slot_of == MAP_FAILED) {
		perror("memory");
		return 1;
	}
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);

	for (slot = 0; slot < count; slot++)
		start(argv[2], argv[3], slot);
	while (!ending) {
		pid = waitpid(-1, NULL, 0);
		if (pid > 0 && !ending)
			start(argv[2], argv[3], slot_of[pid]);
	}
	for (slot = 0; slot < count; slot++)
		kill(pid_of[slot], SIGTERM);
	while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
		;
	return 0;
}
