// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/invopop/jsonschema"
	"go.yaml.in/yaml/v3"
)

// required are the keys that every entry of a list must have.
var required = map[string][]string{
	"":                           {"listeners"},
	"listeners[]":                {"name", "type", "listen"},
	"listeners[].socks5.users[]": {"name"},
	"listeners[].forward":        {"target"},
	"upstreams[]":                {"name", "type"},
}

// schema is the JSON schema of the configuration, for editors.
func schema(t *testing.T, about comments) string {
	t.Helper()
	root := reflected(t)
	root.Title = "Configuration of Tandem"
	root.Required = required[""]
	for _, k := range allKeys() {
		s := schemaOf(t, root, k.path)
		s.Description = about.of(k)
		below := s
		if k.of.Kind() == reflect.Slice {
			below = s.Items
		}
		below.Required = append(required[k.path], required[k.path+"[]"]...)
		if v := defaultOf(k); k.single() && !v.IsZero() && !strings.HasPrefix(k.path, "listeners[].timeouts.") {
			s.Default = inLine(t, v.Interface())
			if v.Kind() == reflect.Bool || v.CanInt() && kinds[v.Type().String()].pattern == "" || v.CanUint() && choices(v.Type()) == nil {
				s.Default = v.Interface()
			}
		}
	}
	out, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(out) + "\n"
}

// reflected is the schema that the types alone yield. Sections are not shared,
// because the same one may have other defaults elsewhere.
func reflected(t *testing.T) *jsonschema.Schema {
	t.Helper()
	r := jsonschema.Reflector{
		FieldNameTag: "yaml", Anonymous: true, DoNotReference: true, ExpandedStruct: true,
		RequiredFromJSONSchemaTags: true,
		Mapper:                     func(of reflect.Type) *jsonschema.Schema { return mapped(t, of) },
	}
	return r.Reflect(&Config{})
}

// mapped is the schema of a type that is no struct or list; nil for others.
func mapped(t *testing.T, of reflect.Type) *jsonschema.Schema {
	t.Helper()
	if values := choices(of); values != nil {
		s := &jsonschema.Schema{Type: "string"}
		for _, v := range values {
			s.Enum = append(s.Enum, v)
		}
		return s
	}
	if of.Kind() == reflect.Map {
		s := &jsonschema.Schema{Type: "object", Properties: jsonschema.NewProperties(), AdditionalProperties: jsonschema.FalseSchema}
		for _, key := range keysOf(of) {
			s.Properties.Set(key, mapped(t, of.Elem()))
		}
		return s
	}
	known := kinds[of.String()]
	switch {
	case known.pattern == "" && isScalar(of) && known.name == "":
		t.Errorf("type %v is not in kinds", of)
	case known.pattern == "":
		return nil
	case of.String() == "policy.PortRange" || of.String() == "config.DSCP" || of.String() == "config.OptionValue":
		return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{{Type: "integer"}, {Type: "string", Pattern: known.pattern}}}
	}
	return &jsonschema.Schema{Type: "string", Pattern: known.pattern}
}

// schemaOf finds the schema of a key.
func schemaOf(t *testing.T, root *jsonschema.Schema, path string) *jsonschema.Schema {
	t.Helper()
	s := root
	for name := range strings.SplitSeq(path, ".") {
		name, list := strings.CutSuffix(name, "[]")
		next, ok := s.Properties.Get(name)
		if !ok {
			t.Fatalf("the schema has no %s", path)
		}
		if s = next; list {
			s = s.Items
		}
	}
	return s
}

// TestSchemaAcceptsGoodFiles checks the schema with the keywords that it uses.
func TestSchemaAcceptsGoodFiles(t *testing.T) {
	var root jsonschema.Schema
	if err := json.Unmarshal([]byte(schema(t, readComments(t))), &root); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("../deploy/examples/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(files, "default.yaml", "testdata/complete.yaml") {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var document yaml.Node
		if err := yaml.Unmarshal(data, &document); err != nil {
			t.Fatal(err)
		}
		for _, complaint := range disagree(&root, document.Content[0], "") {
			t.Errorf("%s: %s", file, complaint)
		}
	}
	var bad yaml.Node
	if err := yaml.Unmarshal([]byte("log: {level: 3}\nworkers: x\nlisteners: [{nam: a}]\ntimeouts: {idle: 5}"), &bad); err != nil {
		t.Fatal(err)
	}
	if got := disagree(&root, bad.Content[0], ""); len(got) != 7 {
		t.Errorf("a bad file: %d complaints: %q", len(got), got)
	}
}

// disagree lists what a schema has to say against a value.
func disagree(s *jsonschema.Schema, n *yaml.Node, path string) (complaints []string) {
	kindOf := map[string]string{"!!map": "object", "!!seq": "array", "!!str": "string", "!!int": "integer", "!!float": "number", "!!bool": "boolean"}[n.Tag]
	if s.Type != "" && s.Type != kindOf && !(s.Type == "number" && kindOf == "integer") {
		return []string{path + ": is " + kindOf + ", not " + s.Type}
	}
	if len(s.AnyOf) > 0 && !slices.ContainsFunc(s.AnyOf, func(one *jsonschema.Schema) bool { return disagree(one, n, path) == nil }) {
		complaints = append(complaints, path+": is none of several")
	}
	if len(s.Enum) > 0 && !slices.Contains(s.Enum, any(n.Value)) {
		complaints = append(complaints, path+": is not among the values")
	}
	if s.Pattern != "" && !regexp.MustCompile(s.Pattern).MatchString(n.Value) {
		complaints = append(complaints, path+": does not match "+s.Pattern)
	}
	given := map[string]bool{}
	for i := 0; n.Kind == yaml.MappingNode && i < len(n.Content); i += 2 {
		name := n.Content[i].Value
		given[name] = true
		if below, ok := s.Properties.Get(name); ok {
			complaints = append(complaints, disagree(below, n.Content[i+1], join(path, name))...)
		} else if s.AdditionalProperties != nil {
			complaints = append(complaints, join(path, name)+": is not a key")
		}
	}
	for _, name := range s.Required {
		if !given[name] {
			complaints = append(complaints, join(path, name)+": is required")
		}
	}
	for _, item := range n.Content {
		if n.Kind == yaml.SequenceNode {
			complaints = append(complaints, disagree(s.Items, item, path+"[]")...)
		}
	}
	return complaints
}
