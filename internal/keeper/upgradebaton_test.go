//go:build linux

package keeper

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"
)

// sampleBaton is one with something in every section.
func sampleBaton() []byte {
	w := newBatonWriter(nil)
	w.begin(sectionWords)
	for i := range nWords {
		switch i {
		case wordEngineVersion:
			w.u64(2)
		case wordEngineListed:
			w.u64(32768)
		default:
			w.u64(uint64(100 + i))
		}
	}
	w.end()
	w.begin(sectionSignals)
	for i := range uint32(65) {
		w.u32(3 * i)
		w.u32(2 * i)
		w.u32(i)
	}
	w.end()
	w.begin(sectionRuns)
	for _, v := range []uint32{7, 200, 1<<32 - 1, bitAdopted} {
		w.u32(v)
	}
	w.end()
	w.begin(sectionHolds)
	w.u32(7)
	w.u32(9)
	w.u64(1 << 40)
	w.u32(201)
	w.u32(0)
	w.end()
	w.begin(sectionUnsent)
	w.u32(7)
	w.end()
	w.begin(sectionTexts)
	w.text("0123456789abcdef")
	w.text("/old/engine")
	w.text("/old/keeper")
	w.text("--run")
	w.text("")
	w.end()
	return w.b
}

func checkSample(t *testing.T, b *baton) {
	t.Helper()
	if b.words[wordPid] != 100 || b.fd(wordLock) != 100+wordLock || b.words[wordWrong] != 100+wordWrong {
		t.Errorf("words %v", b.words)
	}
	if s := b.signal(15); s != (batonSignal{45, 30, 15}) {
		t.Errorf("signal %+v", s)
	}
	if r := b.run(0); r != (batonRun{7, 200, -1, bitAdopted}) {
		t.Errorf("run %+v", r)
	}
	if h := b.hold(0); h != (batonHold{7, 9, 1 << 40, 201}) || b.unsent(0) != 7 {
		t.Errorf("hold %+v", h)
	}
	id, engine, argv, ok := b.texts()
	if !ok || id != "0123456789abcdef" || engine != "/old/engine" || fmt.Sprint(argv) != "[/old/keeper --run ]" {
		t.Errorf("%q %q %q", id, engine, argv)
	}
}

func TestABatonComesBackAsItWas(t *testing.T) {
	var b baton
	if !b.parse(sampleBaton()) {
		t.Fatal("it is not understood")
	}
	checkSample(t, &b)
	n := 0
	b.each(func(int) { n++ })
	if n != 10 {
		t.Errorf("%d descriptors", n)
	}
}

// TestABatonOfTheFutureIsRead makes everything longer, as a later version may.
func TestABatonOfTheFutureIsRead(t *testing.T) {
	old := sampleBaton()
	le := binary.LittleEndian
	out := append([]byte(nil), old[:batonHeader]...)
	for rest := old[batonHeader:]; len(rest) > 0; {
		kind, entry, count := le.Uint32(rest), int(le.Uint32(rest[4:])), int(le.Uint32(rest[8:]))
		data := rest[sectionHead : sectionHead+entry*count]
		rest = rest[sectionHead+(entry*count+7)&^7:]
		grown := entry
		if kind != sectionTexts && kind != sectionWords {
			grown += 12
		}
		if kind == sectionWords {
			data = append(bytes.Clone(data), make([]byte, 80)...)
			count += 10
		}
		out = le.AppendUint32(le.AppendUint32(le.AppendUint32(le.AppendUint32(out, kind), uint32(grown)), uint32(count)), 0)
		for i := range count {
			out = append(append(out, data[i*entry:(i+1)*entry]...), bytes.Repeat([]byte{0xee}, grown-entry)...)
		}
		for len(out)%8 != 0 {
			out = append(out, 0)
		}
	}
	out = append(out, 99, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 0, 0, 0, 0, 0)
	le.PutUint32(out[12:], le.Uint32(old[12:])+1)
	var b baton
	if !b.parse(out) {
		t.Fatal("it is not understood")
	}
	checkSample(t, &b)
	le.PutUint32(out[8:], 2)
	if b.parse(out) {
		t.Error("a version that cannot be read is accepted")
	}
}

func FuzzBaton(f *testing.F) {
	sample := sampleBaton()
	f.Add(sample)
	f.Add(sample[:len(sample)/2])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, file []byte) {
		var b baton
		if !b.parse(file) {
			return
		}
		// What is accepted can be used without harm.
		b.each(func(fd int) {
			if fd < 3 {
				t.Errorf("descriptor %d", fd)
			}
		})
		for i := range b.sections[sectionSignals].count {
			b.signal(i)
		}
		for i := range b.sections[sectionUnsent].count {
			if b.unsent(i) >= maxSlots {
				t.Error("a slot out of range")
			}
		}
		if _, _, argv, ok := b.texts(); !ok || len(argv) == 0 {
			t.Error("no command line")
		}
	})
}
