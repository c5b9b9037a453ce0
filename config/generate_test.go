// SPDX-License-Identifier: Apache-2.0

package config

//go:generate go test . -run "^TestGenerated$" -update

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/tandem-gateway/tandem/options"
)

// The schema and the reference are made here, from the types, their comments,
// their defaults and the complete file: nothing of it has to be in the program.
func TestGenerated(t *testing.T) {
	about := readComments(t)
	for file, content := range map[string]string{
		"../deploy/tandem.schema.json": schema(t, about),
		"../docs/config.md":            reference(t, about),
	} {
		if *update {
			if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		present, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(present), content); d != "" {
			t.Errorf("%s is not what it should be; run go generate ./config (-file +generated):\n%s", file, d)
		}
	}
}

// comments are the doc comments of types, by name, and of their fields, by
// Type.Field.
type comments map[string]string

// of is what a key says; of an entry of a map it is the table of options that does.
func (c comments) of(k key) string {
	if k.field != "" {
		return c[k.in.Name()+"."+k.field]
	}
	o := optionOf(k)
	if k.in != reflect.TypeFor[OptionCaps]() {
		return strings.ToUpper(o.About()[:1]) + o.About()[1:] + ": " + o.Takes() + "."
	}
	about := "The most of `" + o.String() + "` that clients get"
	if v, ok := options.SafeMax.Value(o); ok {
		about += "; " + o.Text(v) + " if not given"
	}
	return about + "."
}

// optionOf is the option of an entry of a map.
func optionOf(k key) options.Option {
	o, err := options.Named(k.path[strings.LastIndex(k.path, ".")+1:])
	if err != nil {
		panic(err) // there are no other maps
	}
	return o
}

func readComments(t *testing.T) comments {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := comments{}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GenDecl:
				if len(n.Specs) == 1 {
					if spec, ok := n.Specs[0].(*ast.TypeSpec); ok {
						found[spec.Name.Name] = oneLine(n.Doc)
					}
				}
			case *ast.TypeSpec:
				if s, ok := n.Type.(*ast.StructType); ok {
					for _, f := range s.Fields.List {
						for _, name := range f.Names {
							found[n.Name.Name+"."+name.Name] = oneLine(f.Doc)
						}
					}
				}
			}
			return true
		})
	}
	for _, k := range allKeys() {
		if found.of(k) == "" {
			t.Errorf("nothing says what %s is: %s.%s has no comment", k.path, k.in.Name(), k.field)
		}
	}
	return found
}

func oneLine(doc *ast.CommentGroup) string { return strings.Join(strings.Fields(doc.Text()), " ") }

// examples are the values in the complete file, by key.
func examples(t *testing.T) map[string]*yaml.Node {
	t.Helper()
	var document yaml.Node
	if err := yaml.Unmarshal(complete(t), &document); err != nil {
		t.Fatal(err)
	}
	found := map[string]*yaml.Node{}
	collect(document.Content[0], "", found)
	return found
}

func collect(n *yaml.Node, path string, found map[string]*yaml.Node) {
	if found[path] == nil {
		found[path] = n
	}
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i < len(n.Content); i += 2 {
			collect(n.Content[i+1], join(path, n.Content[i].Value), found)
		}
	case yaml.SequenceNode:
		for _, item := range n.Content {
			collect(item, path+"[]", found)
		}
	}
}

// inLine prints a value as it would stand after its key.
func inLine(t *testing.T, value any) string {
	t.Helper()
	var n yaml.Node
	if given, ok := value.(*yaml.Node); ok {
		n = *given
	} else if err := n.Encode(value); err != nil {
		t.Fatal(err)
	}
	n.Style |= yaml.FlowStyle
	out, err := yaml.Marshal(&n)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// A kind is what the values of a type look like.
type kind struct {
	name    string // for the reference
	pattern string // for the schema; none if it is a plain type
}

const (
	duration = `^(0|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$`
	ports    = `^[0-9]{1,5}(-[0-9]{1,5})?$`
	host     = `^\S+:[0-9]{1,5}$`
)

var kinds = map[string]kind{
	"time.Duration":      {"duration", duration},
	"config.Rate":        {"rate", `^(0|[0-9]+ ?(bit|kbit|Mbit|Gbit))$`},
	"config.Volume":      {"size", `^(0|[0-9]+ ?(B|kB|MB|GB|KiB|MiB|GiB))$`},
	"config.Size":        {"size", `^(0|[0-9]+ ?(B|kB|MB|GB|KiB|MiB|GiB))$`},
	"config.DSCP":        {"DSCP", `^([0-9]{1,2}|[A-Za-z]+[0-9]*)$`},
	"config.MAC":         {"link-layer address", `^[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}$`},
	"config.Target":      {"host and port", host},
	"config.NameServer":  {"address, with or without port", `^\S+$`},
	"netip.AddrPort":     {"address and port", host},
	"netip.Addr":         {"address", `^[0-9A-Fa-f:.]+$`},
	"netip.Prefix":       {"prefix or address", `^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$`},
	"policy.Rule":        {"rule", `^[0-9A-Fa-f:.]+(/[0-9]{1,3})?( +ports? +[0-9, -]+)?$`},
	"policy.PortRange":   {"port or range of ports", ports},
	"bool":               {"true or false", ""},
	"int":                {"whole number", ""},
	"uint32":             {"whole number", ""},
	"float64":            {"number", ""},
	"string":             {"text", ""},
	"config.OptionValue": {"value of the option", `^\S+$`},
}

// choices are the values of a type that has just a few.
func choices(t reflect.Type) []string {
	if e, ok := reflect.Zero(t).Interface().(enum); ok {
		return e.values()
	}
	if t.String() == "mptcp.Mode" {
		return []string{"off", "on", "require"}
	}
	return nil
}

var listIn = regexp.MustCompile(`^.*\[\]`)
