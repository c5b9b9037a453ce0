// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
)

// TestReloadTurnsOptionsOn: the programs for them are not there, which is said.
func TestReloadTurnsOptionsOn(t *testing.T) {
	t.Parallel()
	listener := func(options string) string {
		return "listeners:\n  - {name: phones, type: socks5, listen: [\"127.0.0.1:0\"]" + options + "}\n"
	}
	for _, tt := range []struct{ before, after, want string }{
		{"", ", options: {defaults: {scheduler: primary}}", "options of connections that eBPF programs put into force take effect when tandem is started again"},
		{", options: {defaults: {scheduler: primary}}", ", options: {accept: [tcp-option]}", "options asked for in TCP options are heard when tandem is started again"},
		{", options: {accept: [tcp-option]}", ", options: {defaults: {scheduler: primary}, accept: [tcp-option]}", ""},
	} {
		l := startLocal(t, listener(tt.before))
		l.write(listener(tt.after))
		if out := l.must("reload"); !strings.Contains(out, tt.want) {
			t.Errorf("from %q to %q: the operator is told\n%s", tt.before, tt.after, out)
		}
		if said := strings.Contains(l.log.String(), "started again"); said != (tt.want != "") || !strings.Contains(l.log.String(), tt.want) {
			t.Errorf("from %q to %q: want %q\n%s", tt.before, tt.after, tt.want, l.log)
		}
	}
}
