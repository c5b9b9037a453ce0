// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestValues(t *testing.T) {
	for _, c := range []struct {
		of       encoding.TextUnmarshaler
		in, want string // want as printed; "!" and what the error says
	}{
		{new(Size), "0", "0"},
		{new(Size), "1500B", "1500B"},
		{new(Size), "64KiB", "64KiB"},
		{new(Size), "64 KiB", "64KiB"},
		{new(Size), "1000000B", "1MB"},
		{new(Size), "1048576B", "1MiB"},
		{new(Size), "1GiB", "1GiB"},
		{new(Size), "2GiB", "!less than 2GiB"},
		{new(Size), "18446744073709551616B", "!size with a unit"},
		{new(Size), "-1B", "!size with a unit"},
		{new(Size), "64", "!size with a unit"},
		{new(Size), "KiB", "!size with a unit"},
		{new(Size), "", "!size with a unit"},
		{new(DSCP), "46", "ef"},
		{new(DSCP), "EF", "ef"},
		{new(DSCP), "63", "63"},
		{new(DSCP), "64", "!0 to 63"},
		{new(DSCP), "-1", "!0 to 63"},
		{new(DSCP), "best effort", "!0 to 63"},
		{new(MAC), "00-53-00-AB-CD-EF", "00:53:00:ab:cd:ef"},
		{new(MAC), "0053.00ab.cdef", "00:53:00:ab:cd:ef"},
		{new(MAC), "00:53:00:ab:cd", "!link-layer address"},
		{new(NameServer), "192.0.2.53", "192.0.2.53:53"},
		{new(NameServer), "2001:db8::53", "[2001:db8::53]:53"},
		{new(NameServer), "[2001:db8::53]:5353", "[2001:db8::53]:5353"},
		{new(NameServer), "192.0.2.53:", "!with a port"},
		{new(Target), "www.example.com:443", "www.example.com:443"},
		{new(Target), "_srv.example.com.:443", "_srv.example.com.:443"},
		{new(Target), "localhost:443", "localhost:443"},
		{new(Target), "192.0.2.1:80", "192.0.2.1:80"},
		{new(Target), "[2001:db8::1]:80", "[2001:db8::1]:80"},
		{new(Target), "2001:db8::1:80", "!host and a port"},
		{new(Target), "192.0.2.999:80", "!host and a port"},
		{new(Target), "www..example.com:80", "!host and a port"},
		{new(Target), "www example:80", "!host and a port"},
		{new(Target), strings.Repeat("a", 64) + ".com:80", "!host and a port"},
		{new(Target), strings.Repeat("a.", 130) + "com:80", "!host and a port"},
		{new(Target), ":80", "!host and a port"},
		{new(Target), "www.example.com:http", "!1 to 65535"},
	} {
		err := c.of.UnmarshalText([]byte(c.in))
		if says, bad := strings.CutPrefix(c.want, "!"); bad {
			if err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("%T %q: error %v, want it to say %q", c.of, c.in, err, says)
			}
			continue
		}
		if err != nil {
			t.Errorf("%T %q: %v", c.of, c.in, err)
			continue
		}
		if got, err := c.of.(encoding.TextMarshaler).MarshalText(); err != nil || string(got) != c.want {
			t.Errorf("%T %q: printed as %q, %v; want %q", c.of, c.in, got, err, c.want)
		}
	}
}

func TestSizesAreWhatTheyPrintAs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Size(rapid.Int64Range(0, 1<<31-1).Draw(t, "bytes"))
		var got Size
		if err := got.UnmarshalText([]byte(want.String())); err != nil || got != want {
			t.Fatalf("%d printed as %s reads as %d, %v", want, want, got, err)
		}
	})
}

func TestNearest(t *testing.T) {
	keys := []string{"handshake", "connect", "idle", "half-closed", "first-data"}
	for typed, want := range map[string]string{
		"handshke":                       "handshake",
		"hanshdake":                      "handshake",
		"Half_Closed":                    "half-closed",
		"idel":                           "idle",
		"timeout":                        "",
		"x":                              "",
		"":                               "",
		strings.Repeat("handshake", 100): "",
	} {
		if got := nearest(typed, keys); got != want {
			t.Errorf("%.20q: %q, want %q", typed, got, want)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "abc", 0}, {"abc", "acb", 1}, {"abc", "ab", 1}, {"kitten", "sitting", 3}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("%q to %q: %d, want %d", c.a, c.b, got, c.want)
		}
		if got := distance(c.b, c.a); got != c.want {
			t.Errorf("%q to %q: %d, want %d", c.b, c.a, got, c.want)
		}
	}
}
