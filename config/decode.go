// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxNodes bounds the work for one file: aliases of aliases can stand for far
// more values than they take bytes.
const maxNodes = 1 << 16

// decoder fills the tree of types from YAML. It goes on after a mistake, and
// remembers where everything was.
type decoder struct {
	file     string
	root     *Config
	places   map[string]place // of what was given, by path
	problems []Problem
	meant    []string // paths of keys that were probably meant by unknown ones
	nodes    int
}

// place is a position in the file.
type place struct{ line, column int }

func newDecoder(file string) *decoder {
	return &decoder{file: file, root: defaults(), places: map[string]place{}}
}

func (d *decoder) bad(n *yaml.Node, path, wrong, expected string) {
	d.problems = append(d.problems, Problem{d.file, n.Line, n.Column, path, wrong, expected})
}

// decode fills the root, which holds the defaults, and reports whether there is
// anything in it that could be looked at further.
func (d *decoder) decode(data []byte) bool {
	document, second, err := parseYAML(bytes.NewReader(data))
	if err != nil {
		d.problems = append(d.problems, syntaxError(d.file, data, err))
		return false
	}
	if document == nil {
		return true // an empty file: all defaults
	}
	top := document.Content[0]
	d.value(top, reflect.ValueOf(d.root).Elem(), "")
	if second != nil {
		d.bad(second, "", "a second document", "want one, without a line of ---")
	}
	return top.Kind == yaml.MappingNode || isNull(top)
}

// value fills v from a node.
func (d *decoder) value(n *yaml.Node, v reflect.Value, path string) {
	if d.nodes++; d.nodes > maxNodes {
		if d.nodes == maxNodes+1 {
			d.bad(n, path, fmt.Sprintf("more than %d values", maxNodes), "want a smaller file")
		}
		return
	}
	if _, known := d.places[path]; !known {
		d.places[path] = place{n.Line, n.Column}
	}
	n = resolve(n)
	if n.Style&yaml.TaggedStyle != 0 {
		d.bad(n, path, "the tag "+n.Tag, "want the value alone")
		return
	}
	if v.Kind() == reflect.Pointer {
		if isNull(n) {
			return
		}
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		v = v.Elem()
	}
	switch {
	case isScalar(v.Type()):
		d.scalar(n, v, path)
	case v.Kind() == reflect.Slice:
		d.list(n, v, path)
	default:
		d.section(n, v, path)
	}
}

// resolve follows an alias to what it stands for.
func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// list fills a slice. Nothing after the key is a list that was not given.
func (d *decoder) list(n *yaml.Node, v reflect.Value, path string) {
	if isNull(n) {
		return
	}
	if n.Kind != yaml.SequenceNode {
		d.bad(n, path, describe(n)+" instead of a list", "want a list: [first, second], or one line with - for each")
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		d.value(item, v.Index(i), fmt.Sprintf("%s[%d]", path, i))
	}
}

// A defaulter has defaults that depend on its type, or on what was read before.
type defaulter interface {
	setDefaults(t string, root *Config)
}

// section fills a struct or a map. Fields are filled in their order, not that of
// the file, so that defaults may come from earlier ones.
func (d *decoder) section(n *yaml.Node, v reflect.Value, path string) {
	given := map[string]*yaml.Node{}
	switch {
	case isNull(n):
	case n.Kind != yaml.MappingNode:
		d.bad(n, path, describe(n)+" instead of a section", "want one of the keys "+listOf(keysOf(v.Type()))+", each with a value")
	default:
		given = d.keys(n, v.Type(), path)
	}
	if f, ok := v.Addr().Interface().(defaulter); ok {
		var t string
		if n := given["type"]; n != nil {
			t = resolve(n).Value
		}
		f.setDefaults(t, d.root)
	}
	if v.Kind() == reflect.Map {
		d.entries(given, v, path)
		return
	}
	for i := range v.NumField() {
		key := keyOf(v.Type().Field(i))
		if n := given[key]; key != "" && n != nil {
			d.value(n, v.Field(i), join(path, key))
		}
	}
}

// entries fills a map with what was given for its keys. An empty text is the same
// as none.
func (d *decoder) entries(given map[string]*yaml.Node, v reflect.Value, path string) {
	for _, key := range keysOf(v.Type()) {
		n := given[key]
		if n == nil {
			continue
		}
		entry := reflect.New(v.Type().Elem()).Elem()
		d.value(n, entry, join(path, key))
		if entry.IsZero() {
			continue
		}
		if v.IsNil() {
			v.Set(reflect.MakeMap(v.Type()))
		}
		v.SetMapIndex(reflect.ValueOf(key).Convert(v.Type().Key()), entry)
	}
}

// keys finds the values of a mapping by key, leaving out those that t does not
// have.
func (d *decoder) keys(n *yaml.Node, t reflect.Type, path string) map[string]*yaml.Node {
	given, known := make(map[string]*yaml.Node, len(n.Content)/2), keysOf(t)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if d.nodes++; d.nodes > maxNodes {
			break
		}
		at := join(path, key.Value)
		switch {
		case key.Kind != yaml.ScalarNode:
			d.bad(key, path, describe(key)+" as a key", "want one of "+listOf(known))
		case key.Tag == "!!merge":
			d.bad(key, at, "keys of another section", "want the keys themselves; values may be aliases")
		case !slices.Contains(known, key.Value):
			meant, expected := instead(t, key.Value)
			d.bad(key, at, "unknown key", expected)
			if meant != "" {
				d.meant = append(d.meant, join(path, meant))
			}
		case given[key.Value] != nil:
			d.bad(key, at, fmt.Sprintf("given again, after line %d", given[key.Value].Line), "want it once")
		default:
			given[key.Value] = value
			if value.Kind != yaml.ScalarNode {
				d.places[at] = place{key.Line, key.Column}
			}
		}
	}
	return given
}

// describe says what kind of node was found.
func describe(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a section"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case isNull(n):
		return "nothing"
	}
	return quote(n.Value)
}

// quote quotes a value, cut where it gets long.
func quote(s string) string {
	const most = 60
	if len(s) > most {
		return fmt.Sprintf("%q…", strings.ToValidUTF8(s[:most], ""))
	}
	return fmt.Sprintf("%q", s)
}

// keyOf is the key of a field, or "" if it has none.
func keyOf(f reflect.StructField) string {
	key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	if key == "-" {
		return ""
	}
	return key
}

func fieldOf(t reflect.Type, key string) (reflect.StructField, bool) {
	for i := range t.NumField() {
		if f := t.Field(i); key != "" && keyOf(f) == key {
			return f, true
		}
	}
	return reflect.StructField{}, false
}

// keysOf are the keys of a section, in the order in which they are filled.
func keysOf(t reflect.Type) []string {
	if t.Kind() == reflect.Map {
		return reflect.Zero(t.Key()).Interface().(enum).values()
	}
	var keys []string
	for i := range t.NumField() {
		if key := keyOf(t.Field(i)); key != "" {
			keys = append(keys, key)
		}
	}
	return keys
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
