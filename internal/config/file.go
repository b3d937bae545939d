package config

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// A fileReader walks a TOML document. It reads the syntax tree and not a decoded value, because the
// decoder stops at its first error and forgets where the values stood.
type fileReader struct {
	c        *Config
	name     string
	text     []byte
	parser   unstable.Parser
	problems Problems
}

// readFile applies the settings of the file.
func (c *Config) readFile(name string, text []byte) Problems {
	r := &fileReader{c: c, name: name, text: bytes.TrimPrefix(text, []byte("\ufeff"))}
	r.parser.Reset(r.text)
	table, known := "", true // the table that the following keys stand in
	for r.parser.NextExpression() {
		node := r.parser.Expression()
		switch node.Kind {
		case unstable.Table, unstable.ArrayTable:
			table, known = r.header(node)
		case unstable.KeyValue:
			if known {
				r.keyValue(table, node)
			}
		}
	}

	// The tree says nothing of keys given twice, and its errors have no line; the decoder's have.
	var decoded map[string]any
	if err := toml.Unmarshal(r.text, &decoded); err != nil {
		line, reason := 0, strings.TrimPrefix(err.Error(), "toml: ")
		if de, ok := errors.AsType[*toml.DecodeError](err); ok {
			line, _ = de.Position()
		}
		if r.parser.Error() != nil {
			reason = "this is not TOML, and nothing after it was read: " + reason
		} else if slices.ContainsFunc(r.problems, func(p Problem) bool { return p.line == line }) {
			return r.problems // a number that is too large, say: told already, with what is right
		}
		r.problem(line, "", reason)
	}
	return r.problems
}

// header reads [limits]. It returns the table's name and whether its keys are worth reading.
func (r *fileReader) header(node *unstable.Node) (string, bool) {
	key, line := r.key("", node.Key())
	switch {
	case byKey[key] != nil:
		r.problem(line, key, fmt.Sprintf("this is a setting and not a table; write %s = %s", lastPart(key), byKey[key].tomlDefault()))
		return key, false
	case !isTable(key):
		reason := `there is no such table; "croft config example" shows those there are`
		if near := nearest(key, slices.Sorted(maps.Keys(sections))); near != "" {
			reason = "there is no such table; did you mean [" + near + "]?"
		}
		r.problem(line, "["+key+"]", reason)
		return key, false
	case node.Kind == unstable.ArrayTable:
		r.problem(line, "[["+key+"]]", "there is one such table; write ["+key+"]")
		return key, false
	}
	return key, true
}

// keyValue reads scan = 1, limits.scan = 1 and limits = {scan = 1}.
func (r *fileReader) keyValue(table string, node *unstable.Node) {
	key, line := r.key(table, node.Key())
	value := node.Value()
	f := byKey[key]
	switch {
	case f == nil && isTable(key):
		if value.Kind != unstable.InlineTable {
			r.problem(line, key, "this is a table; write ["+key+"] and its settings below")
			return
		}
		for children := value.Children(); children.Next(); {
			r.keyValue(key, children.Node())
		}
	case f == nil:
		r.problem(line, key, unknownKey(key))
	case f.secret:
		r.problem(line, key, "a secret has no place in this file: put it into a file of mode 0600 and name that in token_file, or into the variable "+EnvName(key))
	default:
		from := origin{SourceFile, r.where(line)}
		r.problems = append(r.problems, r.c.apply(f, r.literal(f, value), from, line)...)
	}
}

// literal turns a TOML value into text, with whether its type is the field's.
func (r *fileReader) literal(f *field, value *unstable.Node) literal {
	v := literal{text: string(value.Data), shown: string(r.parser.Raw(value.Raw)), file: true}
	switch value.Kind {
	case unstable.String:
		v.typed = f.quoted && !f.list
	case unstable.Integer:
		v.typed = f.typ == bytesType || f.typ.Kind() == reflect.Int
		if n, err := strconv.ParseInt(v.text, 0, 64); err == nil { // 1_000 and 0x10 are TOML too
			v.text = strconv.FormatInt(n, 10)
		}
	case unstable.Bool:
		v.typed = f.typ.Kind() == reflect.Bool
	case unstable.Array:
		v.shown = "a list"
		v.typed = f.list
		for children := value.Children(); children.Next(); {
			v.typed = v.typed && children.Node().Kind == unstable.String
			v.items = append(v.items, string(children.Node().Data))
		}
	case unstable.InlineTable:
		v.shown = "a table"
	}
	return v
}

// key joins the parts of a dotted key, and says which line it stands on.
func (r *fileReader) key(table string, parts unstable.Iterator) (string, int) {
	line := 0
	for parts.Next() {
		part := parts.Node()
		if line == 0 {
			line = r.parser.Shape(part.Raw).Start.Line
		}
		if table != "" {
			table += "."
		}
		table += string(part.Data)
	}
	return table, line
}

func (r *fileReader) where(line int) string {
	if line == 0 {
		return r.name
	}
	return r.name + ":" + strconv.Itoa(line)
}

func (r *fileReader) problem(line int, key, reason string) {
	r.problems = append(r.problems, Problem{source: SourceFile, line: line, Where: r.where(line), Key: key, Reason: reason})
}

func isTable(key string) bool {
	_, ok := sections[key]
	return ok
}

func lastPart(key string) string { return key[strings.LastIndexByte(key, '.')+1:] }
