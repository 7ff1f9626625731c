package prog

// ExecProgram returns the small program that runs abide-exec at path for a slow
// program with the given number of slots. It wants slots+2 descriptors: those of
// the slow program first, then the slow program itself, then the descriptor for
// its Report. Both programs run in the same process, so the record is stored
// here, before abide-exec's own code runs.
func ExecProgram(path string, slots int) ([]byte, error) {
	b := NewBuilder(NativeArch)
	b.SetSlots(slots + 2)
	b.Pseudo(OpRecord)
	b.Pseudo(OpDefSig)
	b.Call(Sigprocmask, Int(sigSetmask), At(b.Block(make([]byte, 8))), Int(0), Int(8))
	for i := range slots + 2 {
		b.Call(Fcntl, Int(FirstSlot+i), Int(FSetFD), Int(0))
	}
	program := uint64(FirstSlot + slots)
	argv := b.Texts([]string{"abide-exec", decimal(program), decimal(program + 1)})
	b.Call(Execve, At(b.Text(path)), At(argv), At(b.Texts([]string{"GOGC=off", "GOMAXPROCS=1"})))
	return b.Bytes()
}

const sigSetmask = 2
