package wire

import (
	"reflect"
	"testing"
)

func TestTheHeirIsReadAsItWasWritten(t *testing.T) {
	want := Heir{Pid: 4711, Soft: 1024, Hard: 1 << 20, Words: []string{"/usr/libexec/abide/abide-keeper", "--run", "/run/a 3:b\n", "", "--"}}
	if got, ok := ParseHeir(want.Text()); !ok || !reflect.DeepEqual(got, want) {
		t.Errorf("read %+v, %t; want %+v", got, ok, want)
	}
}

func FuzzParseHeir(f *testing.F) {
	f.Add("1 2 3 1:a 0:")
	f.Add("1 2 3")
	f.Add("1 2 3 99999999999999999999:a")
	f.Add("1 2 3 5:ab")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		h, ok := ParseHeir(text)
		if !ok {
			return
		}
		if again, ok := ParseHeir(h.Text()); !ok || !reflect.DeepEqual(again, h) {
			t.Errorf("%q is read as %+v and then as %+v", text, h, again)
		}
	})
}
