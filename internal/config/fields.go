package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A field is one setting, as the tags of Config tell it.
type field struct {
	key    string // limits.scan
	doc    string
	deflt  string
	min    string // of the same form as the value; empty for none
	max    string
	oneof  []string
	check  string
	index  []int // of the value in Config
	typ    reflect.Type
	quoted bool // TOML writes the value as a string, or as a list of strings
	list   bool // of strings

	example  string // what to write, where the default says nothing
	optional bool   // it may be empty
	secret   bool   // only a variable may give it, and nothing shows it
}

// A literal is a value as somebody wrote it.
type literal struct {
	text  string
	shown string   // as it stands in the file; text in quotes where empty
	typed bool     // the file's own type fits, or there are no types, as in a variable
	file  bool     // it stands in a file, where strings have quotes
	items []string // of a list; a variable has commas between them
}

var (
	bytesType    = reflect.TypeFor[Bytes]()
	durationType = reflect.TypeFor[time.Duration]()
	listType     = reflect.TypeFor[[]string]()
)

// The settings in the order of the struct, the tables with their descriptions, and ways to find them.
var (
	fields, sections = walk(reflect.TypeFor[Config](), "", nil)
	keys             []string
	byKey            = map[string]*field{}
	byEnv            = map[string]*field{}
)

func init() {
	for _, f := range fields {
		keys = append(keys, f.key)
		byKey[f.key] = f
		byEnv[EnvName(f.key)] = f
	}
}

func walk(t reflect.Type, prefix string, index []int) ([]*field, map[string]string) {
	var found []*field
	tables := map[string]string{}
	for i := range t.NumField() {
		sf := t.Field(i)
		name := sf.Tag.Get("toml")
		if name == "" || name == "-" {
			continue
		}
		at := append(slices.Clone(index), i)
		if sf.Type.Kind() == reflect.Struct {
			inner, deeper := walk(sf.Type, prefix+name+".", at)
			found = append(found, inner...)
			maps.Copy(tables, deeper)
			tables[prefix+name] = sf.Tag.Get("doc")
			continue
		}
		f := &field{
			key: prefix + name, doc: sf.Tag.Get("doc"), deflt: sf.Tag.Get("default"),
			min: sf.Tag.Get("min"), max: sf.Tag.Get("max"), check: sf.Tag.Get("check"),
			index: at, typ: sf.Type,
			quoted:   sf.Type.Kind() == reflect.String || sf.Type == bytesType || sf.Type == durationType || sf.Type == listType,
			list:     sf.Type == listType,
			example:  sf.Tag.Get("example"),
			optional: sf.Tag.Get("optional") != "" || sf.Tag.Get("secret") != "",
			secret:   sf.Tag.Get("secret") != "",
		}
		if f.example == "" {
			f.example = f.deflt
		}
		if words := sf.Tag.Get("oneof"); words != "" {
			f.oneof = strings.Split(words, ",")
		}
		found = append(found, f)
	}
	return found, tables
}

// set parses v into the field of c. It returns what is wrong with v, or nothing.
func (f *field) set(c *Config, v literal) (reason string) {
	target := reflect.ValueOf(c).Elem().FieldByIndex(f.index)
	shown := v.shown
	if shown == "" {
		shown = strconv.Quote(v.text)
	}
	if !v.file {
		v.typed = true
		if f.list && v.text != "" {
			v.items = strings.Split(v.text, ",")
		}
	}
	wrong := func(what string) string {
		example := f.example
		if v.file && f.quoted {
			example = strconv.Quote(example)
		}
		return fmt.Sprintf("%s is not %s; write for example %s", shown, what, example)
	}

	switch {
	case f.typ == bytesType:
		n, ok := parseBytes(v.text)
		if !ok || !v.typed {
			return wrong("a size")
		}
		if lo, ok := parseBytes(f.min); ok && n < lo {
			return tooSmall(shown, f.min)
		}
		if hi, ok := parseBytes(f.max); ok && n > hi {
			return tooLarge(shown, f.max)
		}
		target.SetInt(int64(n))

	case f.typ == durationType:
		d, err := time.ParseDuration(v.text)
		if err != nil || !v.typed {
			return wrong("a length of time")
		}
		if lo, err := time.ParseDuration(f.min); err == nil && d < lo {
			return tooSmall(shown, f.min)
		}
		if hi, err := time.ParseDuration(f.max); err == nil && d > hi {
			return tooLarge(shown, f.max)
		}
		target.SetInt(int64(d))

	case f.typ.Kind() == reflect.Int:
		n, err := strconv.Atoi(v.text)
		if err != nil || !v.typed {
			return wrong("a whole number")
		}
		if lo, err := strconv.Atoi(f.min); err == nil && n < lo {
			return tooSmall(shown, f.min)
		}
		if hi, err := strconv.Atoi(f.max); err == nil && n > hi {
			return tooLarge(shown, f.max)
		}
		target.SetInt(int64(n))

	case f.typ.Kind() == reflect.Bool:
		if v.text != "true" && v.text != "false" || !v.typed {
			return shown + " is neither true nor false; write one of them"
		}
		target.SetBool(v.text == "true")

	case f.list:
		if !v.typed {
			return fmt.Sprintf(`%s is not a list of texts; write for example ["%s"]`, shown, f.example)
		}
		items := []string{}
		var reasons []string
		for _, item := range v.items {
			item = strings.TrimSpace(item)
			if reason := f.checkText(item); reason != "" {
				reasons = append(reasons, reason)
			}
			items = append(items, item)
		}
		if len(reasons) > 0 {
			return strings.Join(reasons, "; ")
		}
		target.Set(reflect.ValueOf(items))

	case f.typ.Kind() == reflect.String:
		if !v.typed {
			return wrong("text in quotes")
		}
		if v.text == "" && f.optional {
			target.SetString("")
			return ""
		}
		if f.oneof != nil && !slices.Contains(f.oneof, v.text) {
			return fmt.Sprintf("%s is not one of %s", shown, strings.Join(f.oneof, ", "))
		}
		if reason := f.checkText(v.text); reason != "" {
			return reason
		}
		target.SetString(v.text)

	default:
		panic("config: " + f.key + " has a type that can't be read: " + f.typ.String())
	}
	return ""
}

func tooSmall(shown, least string) string {
	return fmt.Sprintf("%s is too small; the least is %s", shown, least)
}

func tooLarge(shown, most string) string {
	return fmt.Sprintf("%s is too large; the most is %s", shown, most)
}

func (f *field) value(c *Config) any {
	return reflect.ValueOf(c).Elem().FieldByIndex(f.index).Interface()
}

// formatDuration leaves out the parts that are zero: 720h and not 720h0m0s.
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Bytes is a size. It is written as a number and a unit of 1024 (1MiB) or as a bare number of bytes.
type Bytes int64

var units = []struct {
	name string
	size Bytes
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

func (b Bytes) String() string {
	for _, u := range units {
		if b >= u.size && b%u.size == 0 && u.size > 1 {
			return fmt.Sprintf("%d%s", int64(b/u.size), u.name)
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

func parseBytes(s string) (Bytes, bool) {
	unit := Bytes(1)
	for _, u := range units {
		if number, ok := strings.CutSuffix(s, u.name); ok {
			s, unit = strings.TrimRight(number, " "), u.size
			break
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > int64((1<<63-1)/unit) {
		return 0, false
	}
	return Bytes(n) * unit, true
}
