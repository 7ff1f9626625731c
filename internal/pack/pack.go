// Package pack writes plain structs as bytes for a later process of this
// program: small, quick to read, and readable by another version, because a struct
// is the names of its fields and their values. It is for what lies in a run
// directory; people never see it.
package pack

import (
	"encoding/binary"
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"
)

// Append appends the code of v, a plain struct: bools, numbers, text, slices,
// maps with text as keys, pointers and structs of these. It panics at anything
// else, which is a defect of the program.
func Append(b []byte, v any) []byte { return appendValue(b, structOf(v)) }

// AppendDifference appends those fields of v that differ from base, a struct of
// the same type.
func AppendDifference(b []byte, v, base any) []byte {
	have, usual := structOf(v), structOf(base)
	return appendFields(b, have, func(i int) bool {
		return !reflect.DeepEqual(have.Field(i).Interface(), usual.Field(i).Interface())
	})
}

// Read reads fields into what v points to. Those that the data does not name
// stay as they are, so that differences are put over a base; a field that is read
// shares nothing with what stood there. Names v does not have are passed over.
func Read(data []byte, v any) error {
	d := decoder{rest: data}
	d.fields(structOf(v))
	if d.err == nil && len(d.rest) > 0 {
		d.err = errCode
	}
	return d.err
}

func structOf(v any) reflect.Value {
	s := reflect.Indirect(reflect.ValueOf(v))
	if s.Kind() != reflect.Struct {
		panic("pack: not a struct: " + s.Type().String())
	}
	return s
}

var errCode = errors.New("the data makes no sense")

func appendFields(b []byte, v reflect.Value, wanted func(int) bool) []byte {
	at, n := len(b), 0
	b = append(b, 0)
	for i := range v.NumField() {
		if !wanted(i) {
			continue
		}
		n++
		b = appendText(b, v.Type().Field(i).Name)
		// The length in front lets a reader pass over what it does not know.
		start := len(b)
		b = appendValue(append(b, 0, 0, 0, 0), v.Field(i))
		binary.LittleEndian.PutUint32(b[start:], uint32(len(b)-start-4))
	}
	if n > math.MaxUint8 {
		panic("pack: a struct has more than 255 fields")
	}
	b[at] = byte(n)
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendValue(b []byte, v reflect.Value) []byte {
	switch v.Kind() {
	case reflect.Bool:
		if v.Bool() {
			return append(b, 1)
		}
		return append(b, 0)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return binary.AppendVarint(b, v.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return binary.AppendUvarint(b, v.Uint())
	case reflect.Float64:
		return binary.LittleEndian.AppendUint64(b, math.Float64bits(v.Float()))
	case reflect.String:
		return appendText(b, v.String())
	case reflect.Pointer:
		if v.IsNil() {
			return append(b, 0)
		}
		return appendValue(append(b, 1), v.Elem())
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 && !v.IsNil() {
			return append(binary.AppendUvarint(b, uint64(v.Len())+1), v.Bytes()...)
		}
		// Nil and empty may mean different things.
		if v.IsNil() {
			return append(b, 0)
		}
		b = binary.AppendUvarint(b, uint64(v.Len())+1)
		for i := range v.Len() {
			b = appendValue(b, v.Index(i))
		}
		return b
	case reflect.Map:
		if v.IsNil() {
			return append(b, 0)
		}
		b = binary.AppendUvarint(b, uint64(v.Len())+1)
		keys := v.MapKeys()
		slices.SortFunc(keys, func(x, y reflect.Value) int { return strings.Compare(x.String(), y.String()) })
		for _, k := range keys {
			b = appendValue(appendText(b, k.String()), v.MapIndex(k))
		}
		return b
	case reflect.Struct:
		return appendFields(b, v, func(i int) bool { return !v.Field(i).IsZero() })
	}
	panic("pack: no code for a " + v.Type().String())
}

type decoder struct {
	rest []byte
	err  error
}

func (d *decoder) fail() {
	d.rest, d.err = nil, errCode
}

func (d *decoder) byte() byte {
	if len(d.rest) == 0 {
		d.fail()
		return 0
	}
	c := d.rest[0]
	d.rest = d.rest[1:]
	return c
}

func (d *decoder) number() uint64 {
	n, size := binary.Uvarint(d.rest)
	if size <= 0 {
		d.fail()
		return 0
	}
	d.rest = d.rest[size:]
	return n
}

// take returns the next n bytes.
func (d *decoder) take(n uint64) []byte {
	if n > uint64(len(d.rest)) {
		d.fail()
		return nil
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

// count is a length that so many bytes could have.
func (d *decoder) count() (n int, present bool) {
	c := d.number()
	if c == 0 || c-1 > uint64(len(d.rest)) {
		if c != 0 {
			d.fail()
		}
		return 0, false
	}
	return int(c - 1), true
}

// indexes are the fields of struct types by name.
var indexes sync.Map // of reflect.Type to map[string]int

func indexOf(t reflect.Type) map[string]int {
	if m, ok := indexes.Load(t); ok {
		return m.(map[string]int)
	}
	m := make(map[string]int, t.NumField())
	for i := range t.NumField() {
		m[t.Field(i).Name] = i
	}
	indexes.Store(t, m)
	return m
}

func (d *decoder) fields(v reflect.Value) {
	index := indexOf(v.Type())
	for n := d.byte(); n > 0 && d.err == nil; n-- {
		i, known := index[string(d.take(d.number()))]
		size := d.take(4)
		if size == nil {
			return
		}
		value := d.take(uint64(binary.LittleEndian.Uint32(size)))
		if !known || d.err != nil {
			continue
		}
		inner := decoder{rest: value}
		field := v.Field(i)
		field.SetZero()
		inner.value(field)
		if inner.err != nil || len(inner.rest) > 0 {
			d.fail()
		}
	}
}

func (d *decoder) value(v reflect.Value) {
	if d.err != nil {
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(d.byte() != 0)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n, size := binary.Varint(d.rest)
		if size <= 0 || v.OverflowInt(n) {
			d.fail()
			return
		}
		d.rest = d.rest[size:]
		v.SetInt(n)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n := d.number()
		if v.OverflowUint(n) {
			d.fail()
			return
		}
		v.SetUint(n)
	case reflect.Float64:
		if b := d.take(8); b != nil {
			v.SetFloat(math.Float64frombits(binary.LittleEndian.Uint64(b)))
		}
	case reflect.String:
		v.SetString(string(d.take(d.number())))
	case reflect.Pointer:
		if d.byte() != 0 {
			v.Set(reflect.New(v.Type().Elem()))
			d.value(v.Elem())
		}
	case reflect.Slice:
		n, present := d.count()
		switch {
		case !present:
		case v.Type().Elem().Kind() == reflect.Uint8:
			v.SetBytes(slices.Clone(d.take(uint64(n))))
		default:
			v.Set(reflect.MakeSlice(v.Type(), n, n))
			for i := range n {
				d.value(v.Index(i))
			}
		}
	case reflect.Map:
		d.mapping(v)
	case reflect.Struct:
		d.fields(v)
	default:
		d.fail()
	}
}

func (d *decoder) mapping(v reflect.Value) {
	n, present := d.count()
	if !present {
		return
	}
	v.Set(reflect.MakeMapWithSize(v.Type(), n))
	for ; n > 0 && d.err == nil; n-- {
		key := reflect.New(v.Type().Key()).Elem()
		key.SetString(string(d.take(d.number())))
		value := reflect.New(v.Type().Elem()).Elem()
		d.value(value)
		v.SetMapIndex(key, value)
	}
}
