// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/tandem-gateway/tandem/proxy/policy"
)

// FuzzParse: whatever the file, there are mistakes with a place each, or a
// configuration that is complete and that means the same once printed.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/*.yaml", "default.yaml", "../deploy/examples/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatalf("%s: %v, %v", pattern, files, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Add([]byte("listeners: &a [*a]"))
	f.Add([]byte("log: &l {level: debug}\ntimeouts: *l"))
	f.Add([]byte("upstreams: [{type: *x}]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("FILE", data)
		if err != nil {
			var all Errors
			if !errors.As(err, &all) || len(all) == 0 {
				t.Fatalf("error is %v, want mistakes", err)
			}
			for _, p := range all {
				if p.Line < 1 || p.Column < 1 || p.Wrong == "" || p.Expected == "" {
					t.Errorf("%+v lacks something", p)
				}
			}
			return
		}
		checkComplete(t, c)
		printed, err := yaml.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse("printed.yaml", printed)
		if err != nil {
			t.Fatalf("%v\n%s", err, printed)
		}
		reprinted, err := yaml.Marshal(again)
		if err != nil || !bytes.Equal(printed, reprinted) {
			t.Errorf("printed, read and printed again: %v\n%s\n%s", err, printed, reprinted)
		}
	})
}

// checkComplete checks what those who get a configuration rely on.
func checkComplete(t *testing.T, c *Config) {
	t.Helper()
	if len(c.Listeners) == 0 {
		t.Error("no listeners")
	}
	limits := policy.LimitsConfig{
		Total: c.Limits.Connections, PerSource: c.Limits.PerSource.Connections, Pending: c.Limits.PerSource.Pending,
		Rate: c.Limits.PerSource.NewPerSecond, Burst: c.Limits.PerSource.Burst,
		IPv4Bits: c.Limits.PerSource.IPv4Prefix, IPv6Bits: c.Limits.PerSource.IPv6Prefix, MaxPrefixes: c.Limits.Sources,
	}
	if err := limits.Validate(); err != nil {
		t.Errorf("limits: %v", err)
	}
	for _, l := range c.Listeners {
		sections := map[ListenerType]bool{ListenSOCKS5: l.SOCKS5 != nil, ListenConvert: l.Convert != nil,
			ListenTProxy: l.TProxy != nil, ListenRedirect: l.Redirect != nil, ListenForward: l.Forward != nil}
		for of, there := range sections {
			if there != (of == l.Type) {
				t.Errorf("listener %s of type %s: section %s: %t", l.Name, l.Type, of, there)
			}
		}
		if len(l.Listen) == 0 || len(l.AllowFrom) == 0 || c.upstream(l.Upstream) == nil {
			t.Errorf("listener %s: listen %v, allow-from %v, upstream %q", l.Name, l.Listen, l.AllowFrom, l.Upstream)
		}
		if l.Timeouts.Handshake <= 0 || l.Timeouts.Connect <= 0 {
			t.Errorf("listener %s: %+v", l.Name, l.Timeouts)
		}
		for _, rule := range append(l.Destinations.Allow, l.Destinations.Deny...) {
			if err := rule.Validate(); err != nil {
				t.Errorf("listener %s: %v", l.Name, err)
			}
		}
	}
	for _, u := range c.Upstreams {
		sections := map[UpstreamType]bool{UpstreamDirect: u.Direct != nil, UpstreamConvert: u.Convert != nil, UpstreamSOCKS5: u.SOCKS5 != nil}
		for of, there := range sections {
			if there != (of == u.Type) {
				t.Errorf("upstream %s of type %s: section %s: %t", u.Name, u.Type, of, there)
			}
		}
		if hop := u.Type != UpstreamDirect; hop != (len(u.Servers) > 0) || hop != (u.WhenDown != "") || hop != (u.Health != nil) {
			t.Errorf("upstream %s: servers %v, when-down %q, health %v", u.Name, u.Servers, u.WhenDown, u.Health)
		}
	}
}
