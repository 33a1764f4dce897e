// Package dataflare is the SDK for plugins in Go: this file is all of it.
//
//	package main
//
//	import df "plugin/dataflare"
//
//	type upper struct{}
//
//	func (*upper) Info() df.Info           { return df.Info{Name: "upper", Version: "1.0.0"} }
//	func (*upper) Open(settings df.JSON) error { return nil }
//	func (*upper) Process(record df.JSON, out *df.Out) (df.Verdict, error) {
//		out.Copy(record)
//		return df.Keep, nil
//	}
//
//	func init() { df.Export(&upper{}) }
//	func main() {}
//
// It lies in the folder dataflare of the plugin, whose go.mod says "module plugin". A plugin may be a Stateful and a
// Closer, too. Build: GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -ldflags "-s -w" -o plugin.wasm plugin.go
//
// Behind it are the functions of dataflare.wit in the canonical ABI of the component model.
package dataflare

import (
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// Info is what a plugin says of itself.
type Info struct {
	Name, Version  string
	SettingsSchema string   // JSON Schema of the settings
	Input          []string // the columns that it is given; nil: all
	Outputs        []Output
	Stateful       bool // whether it has state of its own: it is a Stateful
}

// Output is an output; the one without a name is the default one. No columns: those that came in. Adds: they come beside
// those.
type Output struct {
	Name    string
	Columns []Column
	Adds    bool
}

// Column is a column with its type as in workflow files.
type Column struct{ Name, Kind string }

// Verdict says what becomes of a row. Keep: what was written since the last Emit is a record of the default output.
// Drop: the row leaves nothing.
type Verdict int

const (
	Keep Verdict = iota
	Drop
)

// Plugin is what the author writes. Panics are logged and end the instance; another one takes its place.
type Plugin interface {
	Info() Info
	Open(settings JSON) error
	Process(record JSON, out *Out) (Verdict, error)
}

// Stateful is a plugin whose state, JSON, is part of the checkpoint.
type Stateful interface {
	ExportState() JSON
	ImportState(state JSON) error
}

// Closer is a plugin that cleans up.
type Closer interface{ Close() }

type failure struct {
	kind  uint32
	words string
}

func (f failure) Error() string { return f.words }

// Transient makes an error after which the run tries again. Any other error of Process is a bad record.
func Transient(words string) error { return failure{1, words} }

// Fatal makes an error that ends the run.
func Fatal(words string) error { return failure{2, words} }

// ---- reading ------------------------------------------------------------------------------------------------------

// JSON is a value as it is written: a record, its fields, settings, state. Nothing is parsed before it is asked for.
type JSON string

// Get returns the value of a field of an object; those of objects inside are theirs.
func (j JSON) Get(name string) (JSON, bool) {
	for at := 1; len(j) > 0 && j[0] == '{'; {
		key, value, next := field(string(j), at)
		if next == 0 {
			break
		}
		if isName(key[1:len(key)-1], name) {
			return JSON(value), true
		}
		at = next
	}
	return "", false
}

// Number returns a field that is a number.
func (j JSON) Number(name string) (float64, bool) {
	value, _ := j.Get(name)
	return value.AsNumber()
}

// Integer returns a field that is a whole number of 64 bits.
func (j JSON) Integer(name string) (int64, bool) {
	value, _ := j.Get(name)
	return value.AsInteger()
}

// Text returns a field that is a text.
func (j JSON) Text(name string) (string, bool) {
	value, _ := j.Get(name)
	return value.AsText()
}

// AsNumber returns the number that it is.
func (j JSON) AsNumber() (float64, bool) {
	digits := strings.TrimPrefix(string(j), "-")
	if digits == "" || digits[0] < '0' || digits[0] > '9' {
		return 0, false
	}
	found, err := strconv.ParseFloat(string(j), 64)
	return found, err == nil
}

// AsInteger returns the whole number of 64 bits that it is, without loss.
func (j JSON) AsInteger() (int64, bool) {
	found, err := strconv.ParseInt(string(j), 10, 64)
	return found, err == nil && j[0] != '+'
}

// AsText returns the text that a JSON string stands for.
func (j JSON) AsText() (string, bool) {
	if len(j) < 2 || j[0] != '"' {
		return "", false
	}
	inner := string(j[1 : len(j)-1])
	if strings.IndexByte(inner, '\\') < 0 {
		return inner, true
	}
	return unescaped(inner), true
}

// IsNull tells whether it is null.
func (j JSON) IsNull() bool { return j == "null" }

// Items returns the elements of a list.
func (j JSON) Items() []JSON {
	var found []JSON
	for at := 1; len(j) > 0 && j[0] == '['; {
		at = past(string(j), at, ',')
		end := valueEnd(string(j), at)
		if end <= at {
			break
		}
		found, at = append(found, j[at:end]), end
	}
	return found
}

// field returns the name of a field as a JSON string, its value, and where the next one begins; 0: there is none.
func field(text string, at int) (string, string, int) {
	begin := past(text, at, ',')
	if begin >= len(text) || text[begin] != '"' {
		return "", "", 0
	}
	end := stringEnd(text, begin+1)
	at = past(text, end, ':')
	next := valueEnd(text, at)
	return text[begin:end], text[at:next], next
}

// isName compares what stands between quotes; where there are escapes in it, it is longer than the name.
func isName(inner, name string) bool {
	if len(inner) <= len(name) {
		return inner == name
	}
	return strings.IndexByte(inner, '\\') >= 0 && unescaped(inner) == name
}

// past returns the place behind white space and a punctuation mark.
func past(text string, at int, mark byte) int {
	for at < len(text) && (text[at] <= ' ' || text[at] == mark) {
		at++
	}
	return at
}

// stringEnd returns the place behind the quote that ends a string, whose first letter is at at.
func stringEnd(text string, at int) int {
	for ; at < len(text); at++ {
		if text[at] == '"' {
			return at + 1
		}
		if text[at] == '\\' {
			at++
		}
	}
	return len(text)
}

func valueEnd(text string, at int) int {
	depth := 0
	for at < len(text) {
		switch text[at] {
		case '"':
			at = stringEnd(text, at+1) - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return at
			}
			depth--
		case ',', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return at
			}
			at++
			continue
		default:
			at++
			continue
		}
		at++
		if depth == 0 {
			return at
		}
	}
	return len(text)
}

// unescaped returns the text behind escapes; a half of a pair of surrogates alone becomes U+FFFD.
func unescaped(inner string) string {
	text := make([]byte, 0, len(inner))
	for at := 0; at < len(inner); at++ {
		if inner[at] != '\\' || at+1 == len(inner) {
			text = append(text, inner[at])
			continue
		}
		at++
		if place := strings.IndexByte("bfnrt", inner[at]); place >= 0 {
			text = append(text, "\b\f\n\r\t"[place])
		} else if inner[at] != 'u' {
			text = append(text, inner[at])
		} else {
			code := unit(inner, at+1)
			at = min(at+4, len(inner))
			if utf16.IsSurrogate(code) && strings.HasPrefix(inner[at+1:], "\\u") {
				if pair := utf16.DecodeRune(code, unit(inner, at+3)); pair != utf8.RuneError {
					code = pair
					at += 6
				}
			}
			text = utf8.AppendRune(text, code)
		}
	}
	return string(text)
}

func unit(inner string, at int) rune {
	if at+4 > len(inner) {
		return utf8.RuneError
	}
	code, err := strconv.ParseUint(inner[at:at+4], 16, 16)
	if err != nil {
		return utf8.RuneError
	}
	return rune(code)
}

// ---- writing ------------------------------------------------------------------------------------------------------

// Out is where records are written.
type Out struct {
	parts   []part // one for each output, the default one first
	outputs []Output
	places  []int // which part each record went to
	source  uint32
	begin   int // where the record that is being written begins, in the first part
}

// part has the records of an output, each with a line break, the row that each came of, and how many there were before.
type part struct {
	text                     []byte
	sources                  []uint32
	textBefore, sourceBefore int
}

// Raw writes JSON as it is given.
func (o *Out) Raw(json string) { o.parts[0].text = append(o.parts[0].text, json...) }

// Value writes a number, a bool, a string, a JSON or nil.
func (o *Out) Value(value any) { o.parts[0].text = appended(o.parts[0].text, value) }

// Copy writes a record as it came.
func (o *Out) Copy(record JSON) { o.Raw(string(record)) }

// Extend begins an object that has all fields of a record; Field adds more of them, End ends it.
func (o *Out) Extend(record JSON) {
	text := strings.TrimRight(string(record), " \t\r")
	o.Raw(strings.TrimRight(strings.TrimSuffix(text, "}"), " \t\r"))
}

// Object begins an object.
func (o *Out) Object() { o.Raw("{") }

// Field writes a field of an object.
func (o *Out) Field(name string, value any) {
	text := o.parts[0].text
	if len(text) == 0 || text[len(text)-1] != '{' {
		text = append(text, ',')
	}
	o.parts[0].text = appended(append(quoted(text, name), ':'), value)
}

// End ends an object.
func (o *Out) End() { o.Raw("}") }

// CopyWith writes a record with another value in one of its fields, which is added where it is not there.
func (o *Out) CopyWith(record JSON, name string, value any) {
	old, there := record.Get(name)
	if !there {
		o.Extend(record)
		o.Field(name, value)
		o.End()
		return
	}
	at := int(uintptr(unsafe.Pointer(unsafe.StringData(string(old)))) - uintptr(unsafe.Pointer(unsafe.StringData(string(record)))))
	o.Raw(string(record[:at]))
	o.Value(value)
	o.Raw(string(record[at+len(old):]))
}

// Emit ends a record, which goes to an output of Info; "" is the default one.
func (o *Out) Emit(output string) {
	if output == "" {
		o.emitTo(0)
		return
	}
	for place, one := range o.outputs {
		if one.Name == output {
			o.emitTo(place + 1)
			return
		}
	}
	panic("the plugin has no output " + output)
}

func (o *Out) emitTo(place int) {
	first := &o.parts[0]
	first.text = append(first.text, '\n')
	if place > 0 {
		o.parts[place].text = append(o.parts[place].text, first.text[o.begin:]...)
		first.text = first.text[:o.begin]
	}
	o.parts[place].sources = append(o.parts[place].sources, o.source)
	o.places = append(o.places, place)
	o.begin = len(first.text)
}

func (o *Out) clear() {
	for n := range o.parts {
		o.parts[n].text, o.parts[n].sources = o.parts[n].text[:0], o.parts[n].sources[:0]
	}
	o.places, o.begin = o.places[:0], 0
}

// written has the plugin process a row, and leaves nothing of one that it does not keep.
func (o *Out) written(record string, source uint32) error {
	o.source, o.begin = source, len(o.parts[0].text)
	for n := range o.parts {
		o.parts[n].textBefore, o.parts[n].sourceBefore = len(o.parts[n].text), len(o.parts[n].sources)
	}
	count := len(o.places)
	verdict, err := plugin.Process(JSON(record), o)
	if err == nil && verdict == Keep {
		if len(o.parts[0].text) > o.begin {
			o.emitTo(0)
		}
		return nil
	}
	for n := range o.parts {
		one := &o.parts[n]
		one.text, one.sources = one.text[:one.textBefore], one.sources[:one.sourceBefore]
	}
	o.places = o.places[:count]
	return err
}

func appended(text []byte, value any) []byte {
	switch given := value.(type) {
	case nil:
		return append(text, "null"...)
	case JSON:
		return append(text, given...)
	case string:
		return quoted(text, given)
	case float64:
		if math.IsNaN(given) || math.IsInf(given, 0) {
			return append(text, "null"...)
		}
		return strconv.AppendFloat(text, given, 'g', -1, 64)
	case int:
		return strconv.AppendInt(text, int64(given), 10)
	case int64:
		return strconv.AppendInt(text, given, 10)
	case uint64:
		return strconv.AppendUint(text, given, 10)
	case bool:
		return strconv.AppendBool(text, given)
	}
	panic("a record has numbers, texts, bools, JSON and nil, nothing else")
}

// quoted appends a text as a JSON string.
func quoted(text []byte, given string) []byte {
	text, begin := append(text, '"'), 0
	for at := 0; at < len(given); at++ {
		letter := given[at]
		if letter >= ' ' && letter != '"' && letter != '\\' {
			continue
		}
		text = append(text, given[begin:at]...)
		begin = at + 1
		if letter >= ' ' {
			text = append(text, '\\', letter)
		} else {
			text = append(text, '\\', 'u', '0', '0', '0'+letter>>4, "0123456789abcdef"[letter&15])
		}
	}
	return append(append(text, given[begin:]...), '"')
}

// ---- what the host offers -----------------------------------------------------------------------------------------

// Level is how much a message matters.
type Level uint32

const (
	LevelDebug Level = iota
	LevelInfo
	LevelWarn
	LevelError
)

//go:wasmimport dataflare:plugin/host@1.0.0 log
func hostLog(level uint32, text unsafe.Pointer, size uint32)

//go:wasmimport dataflare:plugin/host@1.0.0 metric
func hostMetric(text unsafe.Pointer, size uint32, value float64)

//go:wasmimport dataflare:plugin/host@1.0.0 now
func hostNow() uint64

//go:wasmimport dataflare:plugin/host@1.0.0 get-state
func hostGetState(text unsafe.Pointer, size uint32, found unsafe.Pointer)

//go:wasmimport dataflare:plugin/host@1.0.0 set-state
func hostSetState(text unsafe.Pointer, size uint32, some uint32, value unsafe.Pointer, valueSize uint32)

func pointer(text string) unsafe.Pointer { return unsafe.Pointer(unsafe.StringData(text)) }

// Log says something.
func Log(level Level, message string) { hostLog(uint32(level), pointer(message), uint32(len(message))) }

// Metric adds to a counter.
func Metric(name string, value float64) { hostMetric(pointer(name), uint32(len(name)), value) }

// Now returns the time of the epoch in microseconds since 1970: the same for all rows of an epoch.
func Now() uint64 { return hostNow() }

// GetState returns the state of a key, a JSON list of the values of the node's key.
func GetState(key string) (JSON, bool) {
	found := &[3]uint32{}
	hostGetState(pointer(key), uint32(len(key)), unsafe.Pointer(found))
	if found[0]&0xFF == 0 {
		return "", false
	}
	return JSON(taken(found[1], found[2])), true
}

// SetState keeps the state of a key.
func SetState(key string, value JSON) {
	hostSetState(pointer(key), uint32(len(key)), 1, pointer(string(value)), uint32(len(value)))
}

// ForgetState forgets the state of a key.
func ForgetState(key string) { hostSetState(pointer(key), uint32(len(key)), 0, nil, 0) }

// ---- what the host calls: the canonical ABI -----------------------------------------------------------------------

var (
	plugin Plugin
	info   Info
	out    Out
	words  []uint32 // what the last call returned points to these
	lists  [][]uint32
	told   [13]uint32
	said   []byte
	held   = map[uint32][]byte{} // memory that the host has asked for and not given back with a call yet
)

// Export has the host call a plugin.
func Export(given Plugin) {
	plugin, info = given, given.Info()
	out = Out{parts: make([]part, len(info.Outputs)+1), outputs: info.Outputs}
}

//go:wasmexport cabi_realloc
func reallocate(old, oldSize, align, size uint32) uint32 {
	if size == 0 {
		return align
	}
	defer logPanic()
	room := make([]byte, size+align)
	at := uint32(uintptr(unsafe.Pointer(&room[0])))
	skip := -at & (align - 1)
	copy(room[skip:], held[old])
	delete(held, old)
	held[at+skip] = room[skip : skip+size]
	return at + skip
}

// taken takes over a text that the host has put into memory out of cabi_realloc.
func taken(at, size uint32) string {
	if size == 0 {
		return ""
	}
	room := held[at][:size]
	delete(held, at)
	return unsafe.String(&room[0], size)
}

// logPanic logs why a plugin panics, then ends the instance.
func logPanic() {
	if why := recover(); why != nil {
		Log(LevelError, fmt.Sprint("panic: ", why))
		os.Exit(2)
	}
}

func pair(text string) (uint32, uint32) { return uint32(uintptr(pointer(text))), uint32(len(text)) }

func bytesPair(text []byte) (uint32, uint32) {
	return pair(unsafe.String(unsafe.SliceData(text), len(text)))
}

func list(words []uint32, size int) (uint32, uint32) {
	return uint32(uintptr(unsafe.Pointer(unsafe.SliceData(words)))), uint32(len(words) / size)
}

func bit(given bool) uint32 {
	if given {
		return 1
	}
	return 0
}

// tell returns where the words of a result lie.
func tell(given ...uint32) uint32 {
	copy(told[:], given)
	return uint32(uintptr(unsafe.Pointer(&told)))
}

func tellError(err error, opening bool) uint32 {
	if err == nil {
		return tell(0)
	}
	kind := uint32(0)
	if found, is := err.(failure); is {
		kind = found.kind
	} else if opening {
		kind = 2
	}
	said = append(said[:0], err.Error()...)
	at, size := bytesPair(said)
	return tell(1, kind, at, size)
}

//go:wasmexport dataflare:plugin/lifecycle@1.0.0#describe
func describe() uint32 {
	defer logPanic()
	words, lists = nil, nil
	for _, one := range info.Outputs {
		var columns []uint32
		for _, column := range one.Columns {
			name, nameSize := pair(column.Name)
			kind, kindSize := pair(column.Kind)
			columns = append(columns, name, nameSize, kind, kindSize)
		}
		lists = append(lists, columns)
		name, nameSize := pair(one.Name)
		at, count := list(columns, 4)
		words = append(words, name, nameSize, bit(one.Columns != nil), at, count, bit(one.Adds))
	}
	var input []uint32
	for _, one := range info.Input {
		name, size := pair(one)
		input = append(input, name, size)
	}
	lists = append(lists, input)
	if info.SettingsSchema == "" {
		info.SettingsSchema = "{}"
	}
	name, nameSize := pair(info.Name)
	version, versionSize := pair(info.Version)
	schema, schemaSize := pair(info.SettingsSchema)
	inputAt, inputCount := list(input, 2)
	outputsAt, outputsCount := list(words, 6)
	return tell(name, nameSize, version, versionSize, schema, schemaSize, bit(info.Stateful), bit(info.Input != nil),
		inputAt, inputCount, 0, outputsAt, outputsCount)
}

//go:wasmexport dataflare:plugin/lifecycle@1.0.0#open
func open(at, size uint32) uint32 {
	defer logPanic()
	return tellError(plugin.Open(JSON(taken(at, size))), true)
}

//go:wasmexport dataflare:plugin/lifecycle@1.0.0#close
func closePlugin() {
	defer logPanic()
	if closer, is := plugin.(Closer); is {
		closer.Close()
	}
}

//go:wasmexport dataflare:plugin/lifecycle@1.0.0#export-state
func exportState() uint32 {
	defer logPanic()
	state := JSON("null")
	if stateful, is := plugin.(Stateful); is {
		state = stateful.ExportState()
	}
	said = append(said[:0], state...)
	return tell(bytesPair(said))
}

//go:wasmexport dataflare:plugin/lifecycle@1.0.0#import-state
func importState(at, size uint32) uint32 {
	defer logPanic()
	state := JSON(taken(at, size))
	if stateful, is := plugin.(Stateful); is {
		return tellError(stateful.ImportState(state), true)
	}
	return tell(0)
}

//go:wasmexport dataflare:plugin/processor@1.0.0#process
func process(at, size uint32) uint32 {
	defer logPanic()
	out.clear()
	if err := out.written(taken(at, size), 0); err != nil {
		return tellError(err, false)
	}
	words = words[:0]
	begins := make([]int, len(out.parts))
	for _, place := range out.places {
		text := out.parts[place].text[begins[place]:]
		end := strings.IndexByte(unsafe.String(&text[0], len(text)), '\n')
		begins[place] += end + 1
		name, nameSize := pair(outputName(place))
		at, size := bytesPair(text[:end])
		words = append(words, name, nameSize, at, size)
	}
	if len(out.places) == 0 {
		return tell(0, 1)
	}
	if len(out.places) == 1 && out.places[0] == 0 {
		return tell(0, 0, words[2], words[3])
	}
	at, count := list(words, 4)
	return tell(0, 3, at, count)
}

func outputName(place int) string {
	if place == 0 {
		return ""
	}
	return info.Outputs[place-1].Name
}

//go:wasmexport dataflare:plugin/processor@1.0.0#process-batch
func processBatch(format, rows, at, size uint32) uint32 {
	defer logPanic()
	out.clear()
	said = said[:0]
	var errors []uint32
	data := taken(at, size)
	for row := range rows {
		end, rest := strings.IndexByte(data, '\n'), ""
		if end < 0 {
			end = len(data)
		} else {
			rest = data[end+1:]
		}
		if err := out.written(data[:end], row); err != nil {
			if _, is := err.(failure); is {
				return tellError(err, false)
			}
			errors = append(errors, row, uint32(len(said)), uint32(len(err.Error())))
			said = append(said, err.Error()...)
		}
		data = rest
	}
	begin, _ := bytesPair(said)
	for n := 1; n < len(errors); n += 3 {
		errors[n] += begin
	}
	lists = append(lists[:0], errors)
	return tellBatch(rows, errors)
}

func tellBatch(rows uint32, errors []uint32) uint32 {
	same := len(out.places) == int(rows) && len(out.parts[0].sources) == int(rows)
	for row, source := range out.parts[0].sources {
		same = same && uint32(row) == source
	}
	words = words[:0]
	for place, one := range out.parts {
		name, nameSize := pair(outputName(place))
		if place > 0 && (same || nameSize == 0) {
			continue // records of the default output are in the first part
		}
		at, size := bytesPair(one.text)
		sources, count := list(one.sources, 1)
		words = append(words, name, nameSize, count, at, size-bit(size > 0), bit(!same), sources, count)
	}
	parts, partCount := list(words, 8)
	bad, badCount := list(errors, 3)
	return tell(0, parts, partCount, bad, badCount)
}
