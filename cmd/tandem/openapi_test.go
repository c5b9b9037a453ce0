// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/invopop/jsonschema"

	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/mptcp"
)

// described is a running tandem with what it says about its interface.
type described struct {
	t     *testing.T
	at    string
	Paths map[string]map[string]struct {
		Parameters []struct {
			Name, In string
			Required bool
			Schema   *jsonschema.Schema
		}
		Responses map[string]response
	}
	Components struct {
		Schemas   map[string]*jsonschema.Schema
		Responses map[string]response
	}
}

type response struct {
	Ref     string `json:"$ref"`
	Content map[string]struct{ Schema *jsonschema.Schema }
}

func describe(t *testing.T, at string) *described {
	t.Helper()
	d := &described{t: t, at: at}
	r, err := http.Get(at + "v1/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if err := json.NewDecoder(r.Body).Decode(d); err != nil {
		t.Fatal(err)
	}
	return d
}

// ask has an operation done, and checks that its status is want and its answer what
// the document says of that. It returns the answer.
func (d *described) ask(want int, method, path, query, body string, with ...func(*http.Request)) (answer any) {
	d.t.Helper()
	where := regexp.MustCompile(`/-?\d+`).ReplaceAllString(path, "/{id}")
	operation, ok := d.Paths[where][strings.ToLower(method)]
	if !ok {
		d.t.Fatalf("%s %s is not in the document", method, where)
	}
	request, err := http.NewRequestWithContext(d.t.Context(), method, d.at+path[1:]+"?"+query, strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+pageToken)
	for _, f := range with {
		f(request)
	}
	r, err := http.DefaultClient.Do(request)
	if err != nil {
		d.t.Fatal(err)
	}
	defer r.Body.Close()
	name := fmt.Sprintf("%s %s?%s", method, path, query)
	said, known := operation.Responses[strconv.Itoa(r.StatusCode)]
	if r.StatusCode != want || !known {
		b, _ := io.ReadAll(r.Body)
		d.t.Errorf("%s: status %d, want %d, in the document: %v\n%s", name, r.StatusCode, want, known, b)
		return nil
	}
	if ref, found := strings.CutPrefix(said.Ref, "#/components/responses/"); found {
		said = d.Components.Responses[ref]
	}
	if len(said.Content) == 0 {
		if b, _ := io.ReadAll(r.Body); len(b) > 0 {
			d.t.Errorf("%s answers %q, and nothing in the document", name, b)
		}
		return nil
	}
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	content, known := said.Content[media]
	if !known {
		d.t.Errorf("%s answers %s, in the document %v", name, media, said.Content)
		return nil
	}
	if err := json.NewDecoder(r.Body).Decode(&answer); err != nil { // the first line, if there are several
		d.t.Errorf("%s: %v", name, err)
	}
	for _, complaint := range d.disagree(content.Schema, answer, "") {
		d.t.Errorf("%s with status %d: %s", name, r.StatusCode, complaint)
	}
	return answer
}

// disagree lists what a schema of the document has to say against a value, with the
// keywords that there are. Keys have to be in it, which is more than it says.
func (d *described) disagree(s *jsonschema.Schema, v any, path string) (complaints []string) {
	if s == nil {
		return nil
	}
	if name, found := strings.CutPrefix(s.Ref, "#/components/schemas/"); found {
		s = d.Components.Schemas[name]
	}
	is := "null"
	switch v := v.(type) {
	case map[string]any:
		is = "object"
		for key, below := range v {
			of := s.AdditionalProperties
			if s.Properties != nil {
				of = cmp.Or(s.Properties.Value(key), of)
			}
			if of == nil {
				complaints = append(complaints, path+"."+key+": is not in the schema")
				continue
			}
			complaints = append(complaints, d.disagree(of, below, path+"."+key)...)
		}
		for _, key := range s.Required {
			if _, there := v[key]; !there {
				complaints = append(complaints, path+"."+key+": is required")
			}
		}
	case []any:
		is = "array"
		for _, below := range v {
			complaints = append(complaints, d.disagree(s.Items, below, path+"[]")...)
		}
	case string:
		is = "string"
		if s.Pattern != "" && !regexp.MustCompile(s.Pattern).MatchString(v) {
			complaints = append(complaints, fmt.Sprintf("%s: %q does not match %s", path, v, s.Pattern))
		}
		if _, err := time.Parse(time.RFC3339Nano, v); s.Format == "date-time" && err != nil {
			complaints = append(complaints, path+": "+err.Error())
		}
	case float64:
		if is = "number"; s.Type == "integer" && v == math.Trunc(v) {
			is = "integer"
		}
	case bool:
		is = "boolean"
	}
	if s.Type != "" && s.Type != is {
		complaints = append(complaints, fmt.Sprintf("%s: is %s, in the schema %s", path, is, s.Type))
	}
	return complaints
}

// TestOpenAPIIsTrue asks a tandem for everything that its document offers.
func TestOpenAPIIsTrue(t *testing.T) {
	t.Parallel()
	l, at := startWithPage(t)
	d := describe(t, at)
	d.tryParameters()

	d.ask(200, "GET", "/v1/subscribers", "", "")
	d.ask(200, "GET", "/v1/connections", "", "")
	c := l.tunnel(l.address("phones"), "ada", mptcp.ModePrefer, echoServer(t))
	d.ask(200, "GET", "/v1/status", "", "")
	d.ask(200, "GET", "/v1/subscribers", "", "")
	list := d.ask(200, "GET", "/v1/connections", "limit=1", "").(map[string]any)["connections"].([]any)
	id := fmt.Sprintf("/v1/connections/%v", list[0].(map[string]any)["id"])
	d.ask(200, "PATCH", id+"/options", "", `{"set": {"user-timeout": "60s"}}`)
	d.ask(400, "PATCH", id+"/options", "", `{"sat": {}}`)
	d.ask(422, "PATCH", id+"/options", "", `{"set": {"no-option": "1"}}`)
	d.ask(404, "PATCH", "/v1/connections/0/options", "", `{"clear": ["scheduler"]}`)
	d.ask(200, "PATCH", "/v1/connections/options", "all=true", `{"clear": ["user-timeout"]}`)
	d.ask(422, "PATCH", "/v1/connections/options", "all=true", `{"clear": ["no-option"]}`)
	explain := "source=127.0.0.1&destination=127.0.0.1&port=80"
	d.ask(200, "GET", "/v1/explain", explain, "")
	d.ask(422, "GET", "/v1/explain", explain+"&listener=none", "")
	if os.Geteuid() != 0 {
		d.ask(501, "GET", "/v1/paths", "", "")
	} else if d.ask(200, "GET", "/v1/paths", "", "") != nil {
		// Events come once they are listened to.
		seen := make(chan struct{})
		go func() {
			defer close(seen)
			d.ask(200, "GET", "/v1/paths/events", "", "")
		}()
		labtest.Await(t, patience, "an event", func() bool {
			l.tunnel(l.address("phones"), "ada", mptcp.ModePrefer, echoServer(t)).Close()
			select {
			case <-seen:
				return true
			default:
				return false
			}
		})
	}
	exchange(t, c)
	d.ask(204, "DELETE", id, "", "")
	d.ask(404, "DELETE", "/v1/connections/0", "", "")

	d.ask(200, "GET", "/v1/log-level", "", "")
	d.ask(200, "PUT", "/v1/log-level", "", `{"level": "debug"}`)
	d.ask(400, "PUT", "/v1/log-level", "", `debug`)
	d.ask(422, "PUT", "/v1/log-level", "", `{"level": "loud"}`)
	d.ask(200, "POST", "/v1/reload", "", "")
	d.ask(200, "GET", "/livez", "", "")
	d.ask(200, "GET", "/readyz", "", "")
	d.ask(200, "GET", "/v1/openapi.json", "", "")
	d.ask(401, "POST", "/v1/reload", "", "", func(r *http.Request) { r.Header.Del("Authorization") })
	d.ask(403, "POST", "/v1/reload", "", "", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") })
	d.ask(421, "GET", "/v1/status", "", "", func(r *http.Request) { r.Host = "example.com" })

	l.write("listeners: nothing\n")
	d.ask(422, "POST", "/v1/reload", "", "")
	d.ask(500, "POST", "/v1/upgrade", "", "")
	c = l.tunnel(l.address("phones"), "ada", mptcp.ModePrefer, echoServer(t))
	d.ask(200, "POST", "/v1/drain", "timeout=10m", "")
	d.ask(409, "POST", "/v1/reload", "", "")
	d.ask(409, "POST", "/v1/upgrade", "", "")
	d.ask(503, "GET", "/readyz", "", "")
	c.Close()
	l.awaitEnd()
}

// tryParameters leaves out every parameter that is required, and all of those which
// are not, and gives others that are not what the document says.
func (d *described) tryParameters() {
	d.t.Helper()
	samples := map[string]string{"source": "127.0.0.1", "destination": "127.0.0.1", "port": "80"}
	bodies := map[string]string{"PATCH": `{"clear": ["scheduler"]}`, "PUT": `{"level": "info"}`}
	for path, methods := range d.Paths {
		at := strings.ReplaceAll(path, "{id}", "1")
		for method, operation := range methods {
			method := strings.ToUpper(method)
			bad := func(q url.Values) { d.t.Helper(); d.ask(400, method, at, q.Encode(), bodies[method]) }
			least := url.Values{}
			for _, p := range operation.Parameters {
				if p.Required && p.In == "query" {
					least.Set(p.Name, samples[p.Name])
				}
			}
			with := func(name, value string) url.Values {
				q := url.Values{}
				for n := range least {
					q.Set(n, least.Get(n))
				}
				if q.Set(name, value); value == "" {
					q.Del(name)
				}
				return q
			}
			bad(with("nobody-knows", "1"))
			for _, p := range operation.Parameters {
				switch {
				case p.In == "path":
					d.ask(400, method, strings.ReplaceAll(path, "{id}", "-1"), "", bodies[method])
				case p.Schema.Type != "string" || p.Schema.Pattern != "":
					bad(with(p.Name, "-1"))
				}
				if p.Required && p.In == "query" {
					bad(with(p.Name, ""))
				}
			}
			if method == "GET" && !strings.HasPrefix(path, "/v1/paths") {
				d.ask(200, method, at, least.Encode(), "")
			}
		}
	}
}
