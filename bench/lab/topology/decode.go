// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Problem is a mistake in a file.
type Problem struct {
	File         string
	Line, Column int
	Text         string
}

func (p Problem) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Text)
}

// decoder fills structs from YAML, strictly. It goes on after a mistake.
type decoder struct {
	file     string
	problems []error
	places   map[any]*yaml.Node // of pointers to structs
}

func (d *decoder) bad(n *yaml.Node, format string, args ...any) {
	d.problems = append(d.problems, Problem{d.file, n.Line, n.Column, fmt.Sprintf(format, args...)})
}

func (d *decoder) value(n *yaml.Node, v reflect.Value) {
	if n.Kind == yaml.AliasNode {
		d.bad(n, "aliases are not understood; write the value out")
		return
	}
	if v.Kind() == reflect.Struct {
		d.places[v.Addr().Interface()] = n
	}
	if n.Kind == yaml.ScalarNode {
		if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
			if err := u.UnmarshalText([]byte(n.Value)); err != nil {
				d.bad(n, "%v", err)
			}
			return
		}
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, v.Elem())
	case reflect.Struct:
		d.structure(n, v)
	case reflect.Map:
		d.mapping(n, func(key, value *yaml.Node) {
			elem := reflect.New(v.Type().Elem()).Elem()
			d.value(value, elem)
			if v.IsNil() {
				v.Set(reflect.MakeMap(v.Type()))
			}
			v.SetMapIndex(reflect.ValueOf(key.Value), elem)
		})
	case reflect.Slice:
		if n.Kind != yaml.SequenceNode {
			d.bad(n, "want a list")
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
		for i, c := range n.Content {
			d.value(c, v.Index(i))
		}
	default:
		if n.Kind != yaml.ScalarNode || n.Decode(v.Addr().Interface()) != nil {
			d.bad(n, "want a value of type %s", v.Kind())
		}
	}
}

// mapping calls each for the keys of a mapping, which must differ.
func (d *decoder) mapping(n *yaml.Node, each func(key, value *yaml.Node)) {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.bad(n, "want a mapping")
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if seen[key.Value] {
			d.bad(key, "%s is given twice", key.Value)
			continue
		}
		seen[key.Value] = true
		each(key, n.Content[i+1])
	}
}

func (d *decoder) structure(n *yaml.Node, v reflect.Value) {
	fields, names := map[string]int{}, []string(nil)
	for i := range v.NumField() {
		if tag := v.Type().Field(i).Tag.Get("yaml"); tag != "" {
			fields[tag] = i
			names = append(names, tag)
		}
	}
	d.mapping(n, func(key, value *yaml.Node) {
		i, ok := fields[key.Value]
		if !ok {
			d.bad(key, "unknown key %s, want one of %s", key.Value, strings.Join(names, ", "))
			return
		}
		d.value(value, v.Field(i))
	})
}

func (d *decoder) err() error { return errors.Join(d.problems...) }
