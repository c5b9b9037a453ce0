// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/bench/lab"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// reach is a host and an address that it must reach in a preset.
var reach = map[string][][2]string{
	"two-path":    {{"client", "203.0.113.80"}, {"client", "2001:db8:a::1"}},
	"hybrid-home": {{"client", "203.0.113.80"}, {"client", "2001:db8:c::80"}},
	"phone":       {{"phone", "192.0.2.1"}},
	"three-path":  {{"client", "203.0.113.80"}},
	"dual-stack":  {{"client", "203.0.113.80"}, {"client", "2001:db8:c::80"}},
	"cgn":         {{"client", "203.0.113.80"}},
}

func TestPresetsReach(t *testing.T) {
	for _, name := range Presets() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, err := Load(name)
			if err != nil {
				t.Fatal(err)
			}
			n, err := f.Build("preset")
			if errors.Is(err, lab.ErrNeedsRoot) {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			defer n.Close()
			if len(reach[name]) == 0 {
				t.Fatal("nothing to reach")
			}
			for _, r := range reach[name] {
				// The refusal has come the whole way and back.
				err := n.Hosts[r[0]].Do(func() error {
					d := net.Dialer{Timeout: 5 * time.Second}
					c, err := d.Dial("tcp", net.JoinHostPort(r[1], "9"))
					if err == nil {
						c.Close()
					}
					return err
				})
				if !errors.Is(err, unix.ECONNREFUSED) {
					t.Errorf("%s to %s: %v", r[0], r[1], err)
				}
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tt := range []struct{ file, want string }{
		{"hosts:\n  a: {}\nlink: {}\n", "t:3:1: unknown key link"},
		{"hosts:\n  a: {forward: perhaps}\n", "t:2:16: want a value of type bool"},
		{"hosts: {a: , b: }\nlinks:\n  k: {a: {host: a}, b: {host: c}}\n", `t:3:6: link k: no host "c"`},
		{"hosts: {a: , b: }\nlinks:\n  k: {a: {host: a}, b: {host: b}, both: {speed: 3}}\n", "unknown property speed"},
		{"hosts: {a: , b: }\nlinks:\n  k: {a: {host: a}, b: {host: b}, both: {jitter: 3ms}}\n", "jitter 3ms is not within"},
		{"hosts: {a: }\nscript:\n  - soon\n", "t:3:5: want a step"},
		{"hosts: {a: }\nscript:\n  - \"at 1s: k.rate=1M\"\n", "no link k"},
		{"hosts: {a: {routes: [{dev: k}]}}\n", "a route needs a destination"},
		{"hosts: {a: , a: }\n", "t:1:14: a is given twice"},
	} {
		_, err := Parse("t", []byte(tt.file))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: error %v, want %q", tt.file, err, tt.want)
		}
	}
}

func TestReadTrace(t *testing.T) {
	steps, err := ReadTrace(strings.NewReader("seconds,value\n0,20M\n# hand-over\n1.5, 3M\n"), "wifi.rate")
	want := []Step{{0, "wifi.rate=20M"}, {1500 * time.Millisecond, "wifi.rate=3M"}}
	if err != nil || !slices.Equal(steps, want) {
		t.Errorf("steps %v, %v, want %v", steps, err, want)
	}
	for _, bad := range []string{"0,1\nx,2\n", "2,1\n1,1\n", "1\n", "-1,3\n0,"} {
		if _, err := ReadTrace(strings.NewReader(bad), "k.rate"); err == nil {
			t.Errorf("%q accepted", bad)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range Presets() {
		data, err := presets.ReadFile("presets/" + name + ".yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) { Parse("fuzz", data) })
}
