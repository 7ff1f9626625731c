/* A program that says how it is by libsystemd. It stores one descriptor at its first
 * start and says at each start what it was given; what it is told to do it does when it
 * gets USR1 (reload), USR2 (fall silent) and TERM (say so and end). */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <systemd/sd-daemon.h>

int main(void)
{
	sigset_t set;
	char **names = NULL, text[64] = "nothing";
	uint64_t every = 0;
	int n = sd_listen_fds_with_names(0, &names), watched = sd_watchdog_enabled(0, &every), silent = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	if (n > 0) {
		ssize_t len = pread(SD_LISTEN_FDS_START, text, sizeof text - 1, 0);
		text[len > 0 ? len : 0] = 0;
	}
	printf("given %d %s %s, watchdog %d %llu\n", n, n > 0 ? names[0] : "-", text, watched, (unsigned long long)every);
	if (n == 0) {
		int fd = memfd_create("kept", MFD_CLOEXEC);
		dprintf(fd, "of %d", (int)getpid());
		if (sd_pid_notify_with_fds(0, 0, "FDSTORE=1\nFDNAME=state", &fd, 1) <= 0)
			return 3;
	}
	if (sd_notifyf(0, "READY=1\nSTATUS=Serving since pid %d", (int)getpid()) <= 0)
		return 4;
	if (sd_notify_barrier(0, 20 * 1000 * 1000) <= 0)
		return 5;
	printf("passed the barrier\n");
	for (;;) {
		struct timespec wait = {watched > 0 ? 0 : 1000, watched > 0 ? (long)(every / 3) * 1000 : 0};
		switch (sigtimedwait(&set, NULL, &wait)) {
		case SIGUSR1:
			sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%d", 1);
			sd_notify(0, "READY=1\nSTATUS=Read again");
			break;
		case SIGUSR2:
			silent = 1;
			break;
		case SIGTERM:
			sd_notify(0, "STOPPING=1\nSTATUS=Ending");
			return 0;
		default:
			if (watched > 0 && !silent)
				sd_notify(0, "WATCHDOG=1");
		}
	}
}
