// SPDX-License-Identifier: Apache-2.0

package peers

import (
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tandem-gateway/tandem/config"
)

var (
	listen = netip.MustParseAddrPort("192.0.2.1:7000")
	target = netip.MustParseAddrPort("203.0.113.80:9000")
)

// child stands for processes of this program.
func child(name string, args ...string) (string, []string) {
	return "/self", append([]string{name}, args...)
}

// tools stand for programs whose presence is all that commands look at.
func tools(t *testing.T) Tools {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"armon", "sing-box", "xray"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return Tools{Child: child, Tandem: "/tandem", Dir: dir}
}

// everySetup calls f for every peer that is installed with every setup.
func everySetup(t *testing.T, f func(t *testing.T, p Peer, s Setup, c command)) {
	for _, p := range All(tools(t)) {
		if p.command == nil {
			continue
		}
		for _, s := range []Setup{
			{Listen: listen, Target: target},
			{Listen: listen, Target: target, Bulk: true},
			{Listen: listen, Target: target, MPTCP: true},
			{Listen: listen, Target: target, MPTCP: true, Bulk: true},
		} {
			s.Dir = t.TempDir()
			c, err := p.command(s)
			if errors.Is(err, ErrMissing) {
				continue
			}
			if err != nil {
				t.Fatalf("%s: %v", p.Name, err)
			}
			f(t, p, s, c)
		}
	}
}

// text is everything that a peer is told.
func (c *command) text() string {
	all := append([]string{c.program}, c.args...)
	for _, content := range c.files {
		all = append(all, content)
	}
	return strings.Join(all, " ")
}

func TestCommandsSayWhereToListenAndGo(t *testing.T) {
	everySetup(t, func(t *testing.T, p Peer, s Setup, c command) {
		text := c.text()
		if !c.inherit && (!strings.Contains(text, "192.0.2.1") || !strings.Contains(text, "7000")) {
			t.Errorf("%s is not told where to listen: %s", p.Name, text)
		}
		if p.Front == Forward && !strings.Contains(text, target.String()) {
			t.Errorf("%s is not told the target: %s", p.Name, text)
		}
	})
}

// TestMPTCPIsAskedFor: what a peer is told differs with MPTCP, because the
// report would compare apples with pears else.
func TestMPTCPIsAskedFor(t *testing.T) {
	told := map[string]string{}
	everySetup(t, func(t *testing.T, p Peer, s Setup, c command) {
		if s.Bulk {
			return
		}
		key := p.Name + string(p.Front)
		if s.MPTCP && c.text() == told[key] {
			t.Errorf("%s is told the same with MPTCP: %s", p.Name, c.text())
		}
		told[key] = c.text()
	})
}

// TestConfigurationsAreValid asks the programs themselves, where they can tell
// without starting.
func TestConfigurationsAreValid(t *testing.T) {
	everySetup(t, func(t *testing.T, p Peer, s Setup, c command) {
		for name, content := range c.files {
			if err := os.WriteFile(filepath.Join(s.Dir, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(name, ".json") && !json.Valid([]byte(content)) {
				t.Errorf("%s is not JSON:\n%s", name, content)
			}
		}
		switch p.Name {
		case TandemName:
			if _, err := config.Load(filepath.Join(s.Dir, "tandem.yaml")); err != nil {
				t.Errorf("tandem: %v", err)
			}
		case "haproxy":
			if c.inherit {
				return // the descriptor is not there
			}
			ask(t, c.program, s.Dir, "-c", "-f", "haproxy.cfg")
		case "nginx":
			if os.Geteuid() != 0 {
				return
			}
			ask(t, c.program, s.Dir, "-t", "-p", s.Dir, "-c", "nginx.conf", "-e", "stderr")
		case "dante":
			wrapped := strings.HasSuffix(c.program, "mptcpize")
			if !wrapped {
				ask(t, c.program, s.Dir, "-V", "-f", "danted.conf")
			}
		}
	})
}

func ask(t *testing.T, program, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	// Other mistakes are what it is about; the address is not on this host.
	if err != nil && !strings.Contains(string(out), "annot assign requested address") {
		t.Errorf("%s %v: %v\n%s", program, args, err, out)
	}
}

// TestVersions asks what is there: Go of this program, and a package that every
// Debian has.
func TestVersions(t *testing.T) {
	for _, p := range All(tools(t)) {
		v := p.Version(t.Context())
		if p.Name == CopyName && !strings.HasPrefix(v, "go") || p.Name == DirectName && v != "" {
			t.Errorf("%s: %q", p.Name, v)
		}
	}
	if v := tools(t).module("xray", "github.com/xtls/xray-core")(t.Context()); v != "" {
		t.Errorf("a program that is none: %q", v)
	}
	if _, err := exec.LookPath("dpkg-query"); err == nil {
		if v := debian("dpkg")(t.Context()); v == "" {
			t.Error("no version of dpkg")
		}
	}
	if v := debian("no-such-package")(t.Context()); v != "" {
		t.Errorf("a package that is not there: %q", v)
	}
}

func TestMissingPeersAreNamed(t *testing.T) {
	none := Tools{Child: child, Dir: t.TempDir()}
	missing := 0
	for _, p := range All(none) {
		if p.command == nil {
			continue
		}
		if _, err := p.command(Setup{Listen: listen, Target: target}); errors.Is(err, ErrMissing) {
			missing++
		} else if err != nil {
			t.Errorf("%s: %v", p.Name, err)
		}
	}
	if missing < 3 {
		t.Errorf("%d missing, want at least armon, sing-box and xray", missing)
	}
	if _, err := find("no-such-program", "no-such-package"); !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "no-such-package") {
		t.Errorf("%v", err)
	}
}
