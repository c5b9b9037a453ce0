// SPDX-License-Identifier: Apache-2.0

package admin

//go:generate go test . -run "^TestOpenAPIIsGenerated$" -update

import (
	"encoding/json"
	"flag"
	"net/http"
	"net/netip"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/invopop/jsonschema"
)

var update = flag.Bool("update", false, "rewrite openapi.json")

func TestOpenAPIIsGenerated(t *testing.T) {
	want := document(t)
	if *update {
		if err := os.WriteFile("openapi.json", []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := cmp.Diff(string(openAPI), want); d != "" {
		t.Errorf("openapi.json is not what it should be; run go generate ./admin (-file +generated):\n%s", d)
	}
}

type object = map[string]any

// kinds are the schemas of parameters.
var kinds = map[kind]object{
	text:       {"type": "string"},
	boolean:    {"type": "boolean"},
	count:      {"type": "integer", "minimum": 0},
	port:       {"type": "integer", "minimum": 1, "maximum": 65535},
	mptcpToken: {"type": "string", "pattern": "^(0x)?[0-9a-fA-F]{1,8}$"},
}

// document is the OpenAPI document of all routes.
func document(t *testing.T) string {
	t.Helper()
	schemas, paths := object{}, object{}
	texts := map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[netip.AddrPort](): {Type: "string", Examples: []any{"192.0.2.1:1080", "[2001:db8::1]:1080"}},
		reflect.TypeFor[netip.Addr]():     {Type: "string", Examples: []any{"192.0.2.1", "2001:db8::1"}},
		reflect.TypeFor[Token]():          {Type: "string", Pattern: "^[0-9a-f]{8}$"},
	}
	reflector := &jsonschema.Reflector{
		Anonymous: true, AllowAdditionalProperties: true,
		Mapper: func(of reflect.Type) *jsonschema.Schema {
			if s := texts[of]; s != nil {
				own := *s
				return &own
			}
			return nil
		},
	}
	if err := reflector.AddGoComments("github.com/tandem-gateway/tandem/admin", "./"); err != nil {
		t.Fatal(err)
	}
	// content describes a body, whose schema goes to those of all.
	content := func(value any) object {
		media := jsonType
		if l, ok := value.(lines); ok {
			media, value = linesType, l.any
		}
		if value == nil {
			return object{media: object{}}
		}
		for name, s := range reflector.Reflect(value).Definitions {
			schemas[name] = s
		}
		name := reflect.TypeOf(value).Name()
		return object{media: object{"schema": object{"$ref": "#/components/schemas/" + name}}}
	}
	failures := object{} // that every route may answer with, by name
	failure := func(name, what string) object {
		failures[name] = object{"description": what, "content": content(Error{})}
		return object{"$ref": "#/components/responses/" + name}
	}
	for _, r := range routes {
		operation := object{"summary": r.summary, "operationId": operationID(r)}
		var parameters []object
		for _, name := range regexp.MustCompile(`{(\w+)}`).FindAllStringSubmatch(r.path, -1) {
			parameters = append(parameters, object{"name": name[1], "in": "path", "required": true, "schema": kinds[count]})
		}
		for _, p := range r.parameters {
			parameters = append(parameters, object{"name": p.name, "in": "query", "description": p.about, "required": p.required, "schema": kinds[p.kind]})
		}
		if parameters != nil {
			operation["parameters"] = parameters
		}
		if r.body != nil {
			operation["requestBody"] = object{"required": true, "content": content(r.body)}
		}
		responses := object{
			"default": failure("Failed", "It failed"),
			"400":     failure("BadRequest", "A parameter or a body that cannot be understood"),
			"401":     failure("Unauthorized", "Over TCP: neither token nor client certificate, or a wrong token"),
			"421":     failure("Misdirected", "Over TCP on loopback: Host names something else"),
			"503":     failure("Unavailable", "Too many requests at once; or the answer of a health check"),
		}
		if r.method != http.MethodGet {
			responses["403"] = failure("Forbidden", "Over TCP: asked by a page of another origin")
		}
		if r.method == http.MethodDelete {
			responses["204"] = object{"description": "Done"}
		} else {
			responses["200"] = object{"description": "Done", "content": content(r.answer)}
		}
		for _, status := range r.errors {
			responses[strconv.Itoa(status)] = object{"description": http.StatusText(status), "content": content(Error{})}
		}
		operation["responses"] = responses
		of, _ := paths[r.path].(object)
		if of == nil {
			of = object{}
			paths[r.path] = of
		}
		of[strings.ToLower(r.method)] = operation
	}
	out, err := json.MarshalIndent(object{
		"openapi": "3.1.0",
		"info": object{
			"title": "Tandem", "version": "1",
			"description": "HTTP over the unix socket of a running Tandem, /run/tandem/tandem.sock unless configured otherwise.",
			"license":     object{"name": "Apache-2.0", "identifier": "Apache-2.0"},
		},
		"servers": []object{
			{"url": "http://tandem", "description": "The unix socket. Any name will do: it leads to one Tandem."},
			{"url": "http://127.0.0.1:8088", "description": "An address of admin.listen on loopback, without TLS: everybody may read, who has the token may change something."},
			{"url": "https://{address}", "description": "An address of admin.listen with TLS: token or client certificate.", "variables": object{"address": object{"default": "192.0.2.1:8443"}}},
		},
		"security": []object{{}, {"token": []string{}}, {"certificate": []string{}}},
		"paths":    paths,
		"components": object{"schemas": schemas, "responses": failures, "securitySchemes": object{
			"token":       object{"type": "http", "scheme": "bearer", "description": "The first line of admin.token-file, over TCP."},
			"certificate": object{"type": "mutualTLS", "description": "One of an authority in admin.tls.client-ca-file."},
		}},
	}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer("#/$defs/", "#/components/schemas/", `\n`, " ").Replace(string(out)) + "\n"
}

// operationID is how generated clients call a route.
func operationID(r route) string {
	words := regexp.MustCompile(`[/{}.-]+`).Split(strings.TrimPrefix(r.path, "/v1"), -1)
	return strings.ToLower(r.method) + strings.Join(words, "_")
}

// TestOpenAPI reads the document as those who get it do, and checks it against
// what is served.
func TestOpenAPI(t *testing.T) {
	s, c := serve(t, &gateway{})
	var got struct {
		Paths map[string]map[string]struct {
			OperationID string
			Responses   map[string]any
		}
		Components struct {
			Schemas   map[string]jsonschema.Schema
			Responses map[string]any
		}
	}
	r, err := c.http.Get("http://tandem/v1/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	served, ids := map[string]bool{}, map[string]bool{}
	for _, rt := range routes {
		served[rt.method+" "+rt.path] = true
		if _, ok := got.Paths[rt.path][strings.ToLower(rt.method)]; !ok {
			t.Errorf("%s %s is not in the document", rt.method, rt.path)
		}
	}
	for path, methods := range got.Paths {
		for method, operation := range methods {
			name := strings.ToUpper(method) + " " + path
			if !served[name] {
				t.Errorf("%s is in the document and not among the routes", name)
			}
			request, err := http.NewRequest(strings.ToUpper(method), "http://tandem"+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, pattern := s.mux.Handler(request); pattern != name {
				t.Errorf("%s is served by %q", name, pattern)
			}
			if ids[operation.OperationID] {
				t.Errorf("two operations are called %s", operation.OperationID)
			}
			ids[operation.OperationID] = true
		}
	}
	for name, s := range got.Components.Schemas {
		if s.Description == "" {
			t.Errorf("%s has no description", name)
		}
		for p := s.Properties.Oldest(); p != nil; p = p.Next() {
			if p.Value.Description == "" && p.Value.Ref == "" {
				t.Errorf("%s.%s has no description", name, p.Key)
			}
		}
	}
	refs := regexp.MustCompile(`"#/components/(schemas|responses)/(\w+)"`).FindAllSubmatch(openAPI, -1)
	for _, ref := range refs {
		_, schema := got.Components.Schemas[string(ref[2])]
		_, response := got.Components.Responses[string(ref[2])]
		if string(ref[1]) == "schemas" && !schema || string(ref[1]) == "responses" && !response {
			t.Errorf("there is no %s in %s", ref[2], ref[1])
		}
	}
}

// TestEveryRouteIsDocumented looks into the documentation for people.
func TestEveryRouteIsDocumented(t *testing.T) {
	doc, err := os.ReadFile("../docs/admin.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range routes {
		if !strings.Contains(string(doc), "`"+r.method+" "+r.path+"`") {
			t.Errorf("%s %s is not in docs/admin.md", r.method, r.path)
		}
		for _, p := range r.parameters {
			if !strings.Contains(string(doc), "`"+p.name+"`") {
				t.Errorf("parameter %s of %s is not in docs/admin.md", p.name, r.path)
			}
		}
	}
}
