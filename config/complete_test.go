// SPDX-License-Identifier: Apache-2.0

package config

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// key is one key of the configuration, wherever in its lists.
type key struct {
	path  string // such as listeners[].listen
	field string // that has it; none of an entry of a map
	of    reflect.Type
	in    reflect.Type // the section that it is in
}

// single reports whether the key has one value, or a list of them, and no keys
// below it.
func (k key) single() bool { return isScalar(element(k.of)) }

// element is what a field holds one or several of.
func element(t reflect.Type) reflect.Type {
	for !isScalar(t) && t.Kind() == reflect.Slice || t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// keys lists all keys below a section, in order.
func keys(t reflect.Type, path string) []key {
	var all []key
	if t.Kind() == reflect.Map {
		for _, name := range keysOf(t) {
			all = append(all, key{path: join(path, name), of: t.Elem(), in: t})
		}
		return all
	}
	for i := range t.NumField() {
		f := t.Field(i)
		if keyOf(f) == "" {
			continue
		}
		k := key{join(path, keyOf(f)), f.Name, f.Type, t}
		all = append(all, k)
		if !k.single() {
			below := k.path
			if f.Type.Kind() == reflect.Slice {
				below += "[]"
			}
			all = append(all, keys(element(f.Type), below)...)
		}
	}
	return all
}

func allKeys() []key { return keys(reflect.TypeFor[Config](), "") }

func complete(t *testing.T) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/complete.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return data
}

var index = regexp.MustCompile(`\[\d+\]`)

func TestCompleteFileHasEveryKey(t *testing.T) {
	d := newDecoder("complete.yaml")
	if !d.decode(complete(t)) {
		t.Fatal(d.problems)
	}
	given := map[string]bool{}
	for path := range d.places {
		given[index.ReplaceAllString(path, "[]")] = true
	}
	for _, k := range allKeys() {
		// The macs of redirect are there because the section is that of tproxy. All
		// entries of a map are read alike.
		if !given[k.path] && k.field != "" && k.path != "listeners[].redirect.exclude.macs" {
			t.Errorf("%s is not in testdata/complete.yaml", k.path)
		}
	}
}

// withoutDefault are the keys that are empty, 0, off or false unless given. A
// key with another default is in defaults.go.
var withoutDefault = []string{
	"workers", "rights.user", "rights.read", "rights.write", "admin.group", "admin.listen", "admin.token-file", "admin.tls.cert-file", "admin.tls.key-file", "admin.tls.client-ca-file",
	"telemetry.prometheus.listen", "telemetry.otlp.endpoint", "telemetry.otlp.headers", "telemetry.otlp.headers[].name",
	"telemetry.otlp.headers[].value", "telemetry.otlp.headers[].value-file", "telemetry.otlp.ca-file", "telemetry.otlp.cert-file",
	"telemetry.otlp.key-file", "telemetry.traces.ratio", "records.file.path", "records.ipfix.collectors", "records.ipfix.domain",
	"subscribers.list", "subscribers.list[].name", "subscribers.list[].password", "subscribers.list[].password-file",
	"subscribers.list[].password-hash", "subscribers.list[].sources", "subscribers.list[].policy", "subscribers.policies",
	"subscribers.policies[].name", "subscribers.policies[].connections", "subscribers.policies[].new-per-second",
	"subscribers.policies[].burst", "subscribers.policies[].rate-up", "subscribers.policies[].rate-down",
	"subscribers.policies[].quota.size", "subscribers.policies[].quota.reduced-rate", "subscribers.policies[].lifetime",
	"subscribers.policies[].idle", "subscribers.policies[].destinations.allow", "subscribers.policies[].destinations.deny",
	"subscribers.policies[].destinations.only", "subscribers.policies[].destinations.allow-private",
	"access-networks", "access-networks[].name", "access-networks[].prefixes", "access-networks[].interfaces",
	"subscribers.default-policy", "subscribers.quota-file", "subscribers.radius.servers",
	"subscribers.radius.servers[].address", "subscribers.radius.servers[].secret", "subscribers.radius.servers[].secret-file",
	"subscribers.radius.address", "subscribers.radius.by-address", "subscribers.radius.accounting.servers",
	"subscribers.radius.accounting.servers[].address", "subscribers.radius.accounting.servers[].secret",
	"subscribers.radius.accounting.servers[].secret-file", "subscribers.radius.dynamic.listen", "subscribers.radius.dynamic.clients",
	"subscribers.radius.dynamic.clients[].address", "subscribers.radius.dynamic.clients[].secret",
	"subscribers.radius.dynamic.clients[].secret-file", "subscribers.radius.dynamic.without-timestamp",
	"limits.per-source.connections", "limits.per-source.new-per-second", "limits.per-source.burst",
	"resolver.servers", "listeners", "upstreams",
	"listeners[].name", "listeners[].type", "listeners[].listen", "listeners[].backlog", "listeners[].ipv6-only",
	"listeners[].socket.mark", "listeners[].socket.device", "listeners[].socket.congestion-control",
	"listeners[].socket.not-sent-low-water", "listeners[].socket.send-buffer", "listeners[].socket.receive-buffer",
	"listeners[].allow-from",
	"listeners[].paths.announce", "listeners[].paths.max-age", "listeners[].paths.bytes", "listeners[].paths.after",
	"listeners[].paths.below", "listeners[].paths.then", "listeners[].paths.refuse-joins", "listeners[].paths.interfaces",
	"listeners[].paths.backup-interfaces",
	"upstreams[].paths.announce", "upstreams[].paths.max-age", "upstreams[].paths.bytes", "upstreams[].paths.after",
	"upstreams[].paths.below", "upstreams[].paths.then", "upstreams[].paths.refuse-joins", "upstreams[].paths.interfaces",
	"upstreams[].paths.backup-interfaces",
	"listeners[].options.accept", "listeners[].options.from", "listeners[].options.forbid",
	"listeners[].options.congestion-controls", "listeners[].options.trusted",
	"subscribers.policies[].options.forbid", "subscribers.policies[].options.congestion-controls",
	"listeners[].destinations.allow", "listeners[].destinations.deny", "listeners[].destinations.only", "listeners[].destinations.allow-private",
	"listeners[].socks5.users", "listeners[].socks5.users[].name", "listeners[].socks5.users[].password",
	"listeners[].socks5.users[].password-file", "listeners[].socks5.users[].password-hash", "listeners[].socks5.bind",
	"listeners[].convert.cookie-key-file", "listeners[].convert.allow-loopback", "listeners[].convert.redundant",
	"listeners[].tproxy.interfaces", "listeners[].tproxy.sources", "listeners[].tproxy.ports", "listeners[].tproxy.reject-quic",
	"listeners[].tproxy.exclude.destinations", "listeners[].tproxy.exclude.ports", "listeners[].tproxy.exclude.dscp", "listeners[].tproxy.exclude.macs",
	"listeners[].redirect.ports", "listeners[].redirect.reject-quic",
	"listeners[].redirect.exclude.destinations", "listeners[].redirect.exclude.ports", "listeners[].redirect.exclude.dscp", "listeners[].redirect.exclude.macs",
	"listeners[].forward.target",
	"upstreams[].name", "upstreams[].type", "upstreams[].servers", "upstreams[].when-down",
	"upstreams[].socket.mark", "upstreams[].socket.device", "upstreams[].socket.congestion-control",
	"upstreams[].socket.not-sent-low-water", "upstreams[].socket.send-buffer", "upstreams[].socket.receive-buffer",
	"upstreams[].socket.keep-alive.idle",
	"upstreams[].direct.pool", "upstreams[].direct.check-servers", "upstreams[].direct.proxy-protocol", "upstreams[].convert.bypass-mptcp-servers",
	"upstreams[].convert.redundant", "upstreams[].convert.redundant-paths",
	"upstreams[].socks5.user", "upstreams[].socks5.password", "upstreams[].socks5.password-file", "upstreams[].socks5.eager",
}

// typed are a listener and an upstream of each type with nothing but defaults,
// by the path of what only they have.
func typed() map[string]reflect.Value {
	all := map[string]reflect.Value{"": reflect.ValueOf(defaults()).Elem()}
	for _, t := range ListenerType("").values() {
		var l Listener
		l.setDefaults(t, defaults())
		all["listeners[]."+t] = reflect.ValueOf(l)
		all["listeners[]"] = reflect.ValueOf(l)
	}
	for _, t := range UpstreamType("").values() {
		var u Upstream
		u.setDefaults(t, defaults())
		all["upstreams[]."+t] = reflect.ValueOf(u)
		if UpstreamType(t) != UpstreamDirect {
			all["upstreams[]"] = reflect.ValueOf(u) // these have more
		}
	}
	all["listeners[].socks5.users[]"] = reflect.ValueOf(User{})
	all["subscribers.list[]"] = reflect.ValueOf(Subscriber{})
	var p SubscriberPolicy
	p.setDefaults("", nil)
	all["subscribers.policies[]"] = reflect.ValueOf(p)
	all["subscribers.radius.servers[]"] = reflect.ValueOf(RADIUSServer{})
	all["subscribers.radius.accounting.servers[]"] = reflect.ValueOf(RADIUSServer{})
	all["subscribers.radius.dynamic.clients[]"] = reflect.ValueOf(RADIUSClient{})
	all["telemetry.otlp.headers[]"] = reflect.ValueOf(Header{})
	all["access-networks[]"] = reflect.ValueOf(AccessNetwork{})
	return all
}

// defaultOf is the default of a key.
func defaultOf(k key) reflect.Value {
	base := ""
	for prefix := range typed() {
		if within(prefix, k.path) && len(prefix) > len(base) {
			base = prefix
		}
	}
	rest := k.path
	if base != "" {
		rest = k.path[len(listIn.FindString(base))+1:]
	}
	return follow(typed()[base], rest)
}

// follow goes down from a section along a path without lists. What is not there
// has the zero value.
func follow(v reflect.Value, path string) reflect.Value {
	for name := range strings.SplitSeq(path, ".") {
		if v.Kind() == reflect.Map {
			return reflect.Zero(v.Type().Elem())
		}
		f, _ := fieldOf(v.Type(), name)
		v = v.FieldByIndex(f.Index)
		if v.Kind() == reflect.Pointer {
			if v.IsNil() {
				v = reflect.New(v.Type().Elem())
			}
			v = v.Elem()
		}
	}
	return v
}

func TestEveryKeyHasADefaultOrIsMeantToHaveNone(t *testing.T) {
	listed := slices.Clone(withoutDefault)
	for _, k := range allKeys() {
		if !k.single() && k.of.Kind() != reflect.Slice || k.field == "" {
			continue
		}
		i := slices.Index(listed, k.path)
		switch zero := defaultOf(k).IsZero(); {
		case zero && i < 0:
			t.Errorf("%s has no default: give it one in defaults.go, or list it in withoutDefault", k.path)
		case !zero && i >= 0:
			t.Errorf("%s is listed in withoutDefault, yet its default is %v", k.path, defaultOf(k))
		}
		if i >= 0 {
			listed = slices.Delete(listed, i, i+1)
		}
	}
	if len(listed) > 0 {
		t.Errorf("listed in withoutDefault, yet there are no such keys: %v", listed)
	}
}

func TestNothingIsLostInPrint(t *testing.T) {
	c, err := Parse("complete.yaml", complete(t))
	if err != nil {
		t.Fatal(err)
	}
	printed, err := yaml.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse("printed.yaml", printed)
	if err != nil {
		t.Fatalf("%v\n%s", err, printed)
	}
	c.Warnings, again.Warnings = nil, nil
	if d := compare(c, again); d != "" {
		t.Errorf("printed and read again (-first +again):\n%s", d)
	}
}
