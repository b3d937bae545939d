package config

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Setting is one value in force and where it came from, for people and as JSON.
type Setting struct {
	Key    string `json:"key"`
	Value  any    `json:"value"`           // a string, an int, a bool or a list of strings; sizes and times as they are written
	Source string `json:"source"`          // default, file, environment, flag
	Where  string `json:"where,omitempty"` // croft.toml:3, CROFT_LISTEN, --listen
}

// Text is the value as a variable would give it.
func (s Setting) Text() string {
	switch v := s.Value.(type) {
	case int:
		return strconv.Itoa(v)
	case bool:
		return strconv.FormatBool(v)
	case []string:
		return strings.Join(v, ",")
	default:
		return v.(string)
	}
}

// Show lists every setting in force, in the order of the example file.
func (c *Config) Show() []Setting {
	list := make([]Setting, 0, len(fields))
	for _, f := range fields {
		s := Setting{Key: f.key, Value: f.value(c), Source: SourceDefault}
		switch v := s.Value.(type) {
		case Bytes:
			s.Value = v.String()
		case time.Duration:
			s.Value = formatDuration(v)
		case []string:
			s.Value = slices.Concat([]string{}, v) // never null
		}
		if f.secret && s.Value != "" {
			s.Value = "(given)"
		}
		if o, ok := c.origins[f.key]; ok {
			s.Source, s.Where = o.source, o.where
		}
		list = append(list, s)
	}
	return list
}

// exampleWidth is the longest line of text in the example file.
const exampleWidth = 96

// Example is a croft.toml with every setting at its default, commented out: taking away the # in
// front of some of them gives a valid file.
func Example() string {
	var b strings.Builder
	comment(&b, "The configuration of Croft. Every setting is shown with its default: remove the # in front of one to change it. The same can be said by a variable (CROFT_LISTEN for listen, CROFT_LIMITS_SCAN for scan of [limits]), which has precedence over this file, and for data and listen by a flag, which has precedence over both. \"croft config show\" tells what is in force, and why.")
	table := ""
	for _, f := range fields {
		if f.secret {
			continue
		}
		b.WriteByte('\n')
		if i := strings.LastIndexByte(f.key, '.'); i >= 0 && f.key[:i] != table {
			table = f.key[:i]
			b.WriteByte('\n')
			comment(&b, sections[table])
			b.WriteString("[" + table + "]\n\n")
		}
		comment(&b, f.doc)
		b.WriteString("#" + lastPart(f.key) + " = " + f.tomlDefault() + "\n")
	}
	return b.String()
}

// tomlDefault is the default as the file writes it.
func (f *field) tomlDefault() string {
	if f.list {
		return "[]"
	}
	if f.quoted {
		return strconv.Quote(f.deflt)
	}
	return f.deflt
}

func comment(b *strings.Builder, text string) {
	line := "#"
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > exampleWidth {
			b.WriteString(line + "\n")
			line = "#"
		}
		line += " " + word
	}
	b.WriteString(line + "\n")
}
