/*
 * A program that does nothing but log:
 *
 *     writer LINES FIFO SLOT
 *
 * writes LINES numbered lines of 100 bytes to its standard output, 40 of them
 * in a write as a program with a buffered output does, as fast as they are
 * taken. A record to FIFO marks its first instruction and another one, with
 * 1000000 added to the slot, the end of its last write.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE = 100, LINES_A_WRITE = 40, ENDED = 1000000 };

struct record {
	long long nanoseconds;
	int pid;
	int slot;
};

static void stamp(const char *fifo, int slot)
{
	struct timespec now;
	struct record record;
	int fd;

	clock_gettime(CLOCK_MONOTONIC, &now);
	record.nanoseconds = now.tv_sec * 1000000000LL + now.tv_nsec;
	record.pid = getpid();
	record.slot = slot;
	fd = open(fifo, O_WRONLY);
	if (fd < 0 || write(fd, &record, sizeof record) != sizeof record)
		exit(111);
	close(fd);
}

/* Counts the number at the head of a line up by so many. */
static void advance(char *line, int by)
{
	int digit = 11, carry = by;

	while (carry > 0 && digit >= 0) {
		carry += line[digit] - '0';
		line[digit--] = '0' + carry % 10;
		carry /= 10;
	}
}

static void put(const char *data, size_t left)
{
	ssize_t done;

	while (left > 0) {
		done = write(1, data, left);
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			exit(111);
		data += done;
		left -= done;
	}
}

int main(int argc, char **argv)
{
	static char block[LINE * LINES_A_WRITE];
	long lines, written;
	int slot, i;

	if (argc != 4) {
		fputs("usage: writer LINES FIFO SLOT\n", stderr);
		return 2;
	}
	lines = atol(argv[1]);
	slot = atoi(argv[3]);
	stamp(argv[2], slot);

	memset(block, 'x', sizeof block);
	for (i = 0; i < LINES_A_WRITE; i++) {
		char head[16];

		snprintf(head, sizeof head, "%012d ", i);
		memcpy(block + i * LINE, head, 13);
		block[i * LINE + LINE - 1] = '\n';
	}
	for (written = 0; written < lines; written += LINES_A_WRITE) {
		long now = lines - written < LINES_A_WRITE ? lines - written : LINES_A_WRITE;

		put(block, now * LINE);
		for (i = 0; i < LINES_A_WRITE; i++)
			advance(block + i * LINE, LINES_A_WRITE);
	}
	stamp(argv[2], slot + ENDED);
	return 0;
}
