package svlog

// step marks a place where a crash must do no harm. Tests put a kill there.
var step func(name string)

func at(name string) {
	if step != nil {
		step(name)
	}
}
