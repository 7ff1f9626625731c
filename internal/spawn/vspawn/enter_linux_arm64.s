#include "go_asm.h"
#include "textflag.h"

#define SYS_getpid 172
#define SYS_clone 220
#define SYS_exit_group 94
#define SYS_rt_sigaction 134
#define SYS_clone3 435

#define OP_PID 0xffff0001
#define OP_RECORD 0xffff0002
#define OP_DEFSIG 0xffff0003

// An op: Nr 0, Flags 4, DstOp 8, DstArg 10, Args 16; 64 bytes.

// func enter(c *call) int64
//
// R19 is the call, R20 the op, R21 the ops left in this list, R22 whether it is
// the program's list. The kernel keeps them all over a system call. Nothing here
// touches the stack: in the child the Go frame is another's.
TEXT ·enter(SB), NOSPLIT, $0-16
	MOVD c+0(FP), R19
	MOVD call_how(R19), R9
	CMP  $const_howHere, R9
	BEQ  start
	CMP  $const_howClone3, R9
	BEQ  clone3

	MOVD call_flags(R19), R0
	MOVD call_stack(R19), R1
	ADD  $call_pidfd, R19, R2
	MOVD ZR, R3
	MOVD ZR, R4
	MOVD $SYS_clone, R8
	SVC
	B    cloned

clone3:
	ADD  $call_args, R19, R0
	MOVD $cloneArgs__size, R1
	MOVD $SYS_clone3, R8
	SVC

cloned:
	CBZ  R0, start
	MOVD R0, ret+8(FP)
	RET

start:
	MOVD call_prelude(R19), R20
	MOVD call_nprelude(R19), R21
	MOVD ZR, R22

loop:
	CBZ   R21, list
	MOVWU 0(R20), R8
	MOVD  $OP_PID, R9
	CMP   R9, R8
	BEQ   pid
	MOVD  $OP_RECORD, R9
	CMP   R9, R8
	BEQ   record
	MOVD  $OP_DEFSIG, R9
	CMP   R9, R8
	BEQ   defsig
	MOVD  16(R20), R0
	MOVD  24(R20), R1
	MOVD  32(R20), R2
	MOVD  40(R20), R3
	MOVD  48(R20), R4
	MOVD  56(R20), R5
	SVC
	MOVHU 4(R20), R9
	CMN   $4095, R0
	BCC   result
	TBZ   $0, R9, fail        // IgnoreError

result:
	TBZ   $1, R9, next        // Store
	MOVHU 8(R20), R10
	MOVHU 10(R20), R11
	CBNZ  R22, ours
	MOVD  call_prelude(R19), R12
	B     keep

ours:
	MOVD call_ops(R19), R12

keep:
	ADD  R10<<6, R12, R12
	ADD  R11<<3, R12, R12
	MOVD R0, 16(R12)

next:
	ADD $64, R20, R20
	SUB $1, R21, R21
	B   loop

list:
	CBNZ R22, end
	MOVD $1, R22
	MOVD call_ops(R19), R20
	MOVD call_nops(R19), R21
	B    loop

pid:
	MOVD $SYS_getpid, R8
	SVC
	MOVD 16(R20), R10
	ADD  $(call_scratch+24), R19, R11
	MOVD R11, R12
	MOVD $10, R13

digit:
	UDIV R13, R0, R14         // R14 = R0 / 10
	MSUB R13, R0, R14, R15    // R15 = R0 - R14 * 10
	ADD  $48, R15, R15
	SUB  $1, R12, R12
	MOVB R15, (R12)
	MOVD R14, R0
	CBNZ R0, digit

copy:
	MOVBU (R12), R15
	MOVB  R15, (R10)
	ADD   $1, R12, R12
	ADD   $1, R10, R10
	CMP   R11, R12
	BNE   copy
	MOVB  ZR, (R10)
	B     next

record:
	MOVD  $SYS_getpid, R8
	SVC
	MOVD  call_record(R19), R10
	CBZ   R10, next
	STLRW R0, (R10)
	B     next

defsig:
	MOVD $1, R23
	MOVD call_reset(R19), R24

signal:
	TBZ  $0, R24, reset
	MOVD R23, R0
	ADD  $call_action, R19, R1
	MOVD ZR, R2
	MOVD $8, R3
	MOVD $SYS_rt_sigaction, R8
	SVC                       // KILL and STOP refuse, and keep their action

reset:
	LSR  $1, R24, R24
	ADD  $1, R23, R23
	CMP  $64, R23
	BLS  signal
	B    next

end:
	MOVD $-8, R0              // ENOEXEC: the program did not end in an execve

fail:
	NEG  R0, R0
	MOVD R20, call_failAt(R19)
	MOVD R0, call_errno(R19)
	MOVD call_how(R19), R9
	CMP  $const_howHere, R9
	BEQ  back
	MOVD $127, R0
	MOVD $SYS_exit_group, R8
	SVC
	BRK

back:
	MOVD ZR, ret+8(FP)
	RET
