#include "go_asm.h"
#include "textflag.h"

#define SYS_getpid 39
#define SYS_clone 56
#define SYS_exit_group 231
#define SYS_rt_sigaction 13
#define SYS_clone3 435

#define OP_PID 0xffff0001
#define OP_RECORD 0xffff0002
#define OP_DEFSIG 0xffff0003

// An op: Nr 0, Flags 4, DstOp 8, DstArg 10, Args 16; 64 bytes.

// func enter(c *call) int64
//
// R12 is the call, R13 the op, BX the ops left in this list, R15 whether it is
// the program's list. The kernel keeps them all over a system call. Nothing here
// touches the stack: in the child the Go frame is another's.
TEXT ·enter(SB), NOSPLIT, $0-16
	MOVQ c+0(FP), R12
	MOVQ call_how(R12), AX
	CMPQ AX, $const_howHere
	JEQ  start
	CMPQ AX, $const_howClone3
	JEQ  clone3

	MOVQ call_flags(R12), DI
	MOVQ call_stack(R12), SI
	LEAQ call_pidfd(R12), DX
	XORL R10, R10
	XORL R8, R8
	MOVL $SYS_clone, AX
	SYSCALL
	JMP  cloned

clone3:
	LEAQ call_args(R12), DI
	MOVL $cloneArgs__size, SI
	MOVL $SYS_clone3, AX
	SYSCALL

cloned:
	TESTQ AX, AX
	JEQ   start
	MOVQ  AX, ret+8(FP)
	RET

start:
	MOVQ call_prelude(R12), R13
	MOVQ call_nprelude(R12), BX
	XORL R15, R15

loop:
	TESTQ BX, BX
	JEQ   list
	MOVL  0(R13), AX
	CMPL  AX, $OP_PID
	JEQ   pid
	CMPL  AX, $OP_RECORD
	JEQ   record
	CMPL  AX, $OP_DEFSIG
	JEQ   defsig
	MOVQ  16(R13), DI
	MOVQ  24(R13), SI
	MOVQ  32(R13), DX
	MOVQ  40(R13), R10
	MOVQ  48(R13), R8
	MOVQ  56(R13), R9
	SYSCALL
	MOVWLZX 4(R13), CX
	CMPQ  AX, $-4095
	JCS   result
	TESTL $1, CX              // IgnoreError
	JEQ   fail

result:
	TESTL $2, CX              // Store
	JEQ   next
	MOVWLZX 8(R13), DX
	SHLQ  $6, DX
	MOVWLZX 10(R13), SI
	TESTQ R15, R15
	JNE   ours
	ADDQ  call_prelude(R12), DX
	JMP   keep

ours:
	ADDQ call_ops(R12), DX

keep:
	MOVQ AX, 16(DX)(SI*8)

next:
	ADDQ $64, R13
	DECQ BX
	JMP  loop

list:
	TESTQ R15, R15
	JNE   end
	MOVL  $1, R15
	MOVQ  call_ops(R12), R13
	MOVQ  call_nops(R12), BX
	JMP   loop

pid:
	MOVL $SYS_getpid, AX
	SYSCALL
	MOVQ 16(R13), DI
	LEAQ (call_scratch+24)(R12), R8
	MOVQ R8, SI
	MOVL $10, CX

digit:
	XORL  DX, DX
	DIVQ  CX
	ADDL  $48, DX
	DECQ  SI
	MOVB  DX, (SI)
	TESTQ AX, AX
	JNE   digit

copy:
	MOVB (SI), AX
	MOVB AX, (DI)
	INCQ SI
	INCQ DI
	CMPQ SI, R8
	JNE  copy
	MOVB $0, (DI)
	JMP  next

record:
	MOVL  $SYS_getpid, AX
	SYSCALL
	MOVQ  call_record(R12), DI
	TESTQ DI, DI
	JEQ   next
	XCHGL AX, (DI)
	JMP   next

defsig:
	MOVL $1, R8
	MOVQ call_reset(R12), R9

signal:
	TESTL $1, R9
	JEQ  reset
	MOVQ R8, DI
	LEAQ call_action(R12), SI
	XORL DX, DX
	MOVL $8, R10
	MOVL $SYS_rt_sigaction, AX
	SYSCALL                   // KILL and STOP refuse, and keep their action

reset:
	SHRQ $1, R9
	INCQ R8
	CMPQ R8, $64
	JLS  signal
	JMP  next

end:
	MOVQ $-8, AX              // ENOEXEC: the program did not end in an execve

fail:
	NEGQ AX
	MOVQ R13, call_failAt(R12)
	MOVQ AX, call_errno(R12)
	CMPQ call_how(R12), $const_howHere
	JEQ  back
	MOVL $127, DI
	MOVL $SYS_exit_group, AX
	SYSCALL
	INT  $3

back:
	MOVQ $0, ret+8(FP)
	RET
