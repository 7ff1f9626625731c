/*
 * A child that says when it began to run, and then waits for ever.
 *
 * It links no C library and needs no dynamic linker, so the time between the
 * end of its predecessor and its own first instruction is its supervisor's
 * alone. The first thing it does is to read CLOCK_MONOTONIC; only then does it
 * look at its arguments and write one 16-byte record to the FIFO named there:
 *
 *     stamp FIFO SLOT
 *
 * Without arguments (a "run" file that is this program) the two come from the
 * working directory: ./fifo and the number in ./slot.
 */
#include <asm/unistd.h>

#define O_RDONLY 0
#define O_WRONLY 1
#define CLOCK_MONOTONIC 1
#define AT_FDCWD -100

struct record {
	long long nanoseconds;
	int pid;
	int slot;
};

#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n\txor %ebp,%ebp\n\tmov %rsp,%rdi\n\tand $-16,%rsp\n\tcall begin\n");

static long call(long number, long a, long b, long c, long d)
{
	long result;
	register long r10 __asm__("r10") = d;

	__asm__ volatile("syscall"
		: "=a"(result)
		: "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10)
		: "rcx", "r11", "memory");
	return result;
}
#elif defined(__aarch64__)
__asm__(".globl _start\n_start:\n\tmov x29,#0\n\tmov x0,sp\n\tbl begin\n");

static long call(long number, long a, long b, long c, long d)
{
	register long x8 __asm__("x8") = number;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;

	__asm__ volatile("svc #0"
		: "+r"(x0)
		: "r"(x8), "r"(x1), "r"(x2), "r"(x3)
		: "memory");
	return x0;
}
#else
#error "the stamping child knows x86_64 and aarch64 only"
#endif

static int number(const char *text)
{
	int value = 0;

	while (*text >= '0' && *text <= '9')
		value = value * 10 + (*text++ - '0');
	return value;
}

void begin(long *stack)
{
	struct { long seconds, nanoseconds; } now;
	struct record record;
	const char *fifo = "fifo";
	char text[16] = { 0 };
	long fd;

	call(__NR_clock_gettime, CLOCK_MONOTONIC, (long)&now, 0, 0);

	if (stack[0] >= 3) {
		fifo = (const char *)stack[2];
		record.slot = number((const char *)stack[3]);
	} else {
		fd = call(__NR_openat, AT_FDCWD, (long)"slot", O_RDONLY, 0);
		call(__NR_read, fd, (long)text, sizeof text - 1, 0);
		call(__NR_close, fd, 0, 0, 0);
		record.slot = number(text);
	}
	record.nanoseconds = now.seconds * 1000000000LL + now.nanoseconds;
	record.pid = (int)call(__NR_getpid, 0, 0, 0, 0);

	fd = call(__NR_openat, AT_FDCWD, (long)fifo, O_WRONLY, 0);
	if (fd < 0 || call(__NR_write, fd, (long)&record, sizeof record, 0) != sizeof record)
		call(__NR_exit_group, 111, 0, 0, 0);
	call(__NR_close, fd, 0, 0, 0);
	for (;;)
		call(__NR_ppoll, 0, 0, 0, 0);
}
