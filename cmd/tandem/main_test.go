// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/apps"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
)

// asTandem makes the test binary behave as the program: tests run it on the
// hosts of a lab, with the race detector where the tests have it.
const asTandem = "TANDEM_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asTandem) != "" {
		os.Exit(execute(context.Background(), os.Args[1:]))
	}
	testscript.Main(leakless{m}, map[string]func(){"tandem": main})
}

// leakless fails when goroutines are left after all tests.
type leakless struct{ m *testing.M }

func (l leakless) Run() int {
	code := l.m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// TestCommands runs the scripts in testdata/script.
func TestCommands(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script"})
}

// runTandem runs tandem on a host until the end of the test, where it has to
// end without an error. Its log is shown if the test has failed.
func runTandem(t *testing.T, h *lab.Host, config string) *apps.Tandem {
	t.Helper()
	return endWithTest(t, h, startTandem(t, h, config))
}

// endWithTest ends tandem as runTandem does.
func endWithTest(t *testing.T, h *lab.Host, tandem *apps.Tandem) *apps.Tandem {
	t.Helper()
	t.Cleanup(func() {
		if err := tandem.Stop(); err != nil {
			t.Error(err)
		}
		if code := tandem.ExitCode(); code != 0 {
			t.Errorf("tandem on %s ended with exit code %d", h.Name(), code)
		}
		if t.Failed() {
			t.Logf("tandem on %s:\n%s%s", h.Name(), tandem.Banner, tandem.Log)
		}
	})
	return tandem
}

func startTandem(t *testing.T, h *lab.Host, config string) *apps.Tandem {
	t.Helper()
	tandem, err := apps.StartTandem(context.Background(), h, tandemConfig(t, config))
	if err != nil {
		t.Fatal(err)
	}
	return tandem
}

// tandemConfig runs the test binary as the program.
func tandemConfig(t *testing.T, config string) apps.TandemConfig {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return apps.TandemConfig{
		Command: []string{program},
		Env:     []string{asTandem + "=1", "GORACE=halt_on_error=1 atexit_sleep_ms=100"},
		Config:  complete(config),
		Dir:     t.TempDir(),
	}
}

// complete has a configuration log everything. There is no socket for operators,
// which would be the same for all, unless the test has one of its own.
func complete(config string) string {
	if !strings.Contains(config, "admin:") {
		config = "admin: {socket: \"\"}\n" + config
	}
	return "log: {level: debug}\n" + config
}

// awaitLog waits for a line of the log that holds all of the words.
func awaitLog(t *testing.T, tandem *apps.Tandem, words ...string) {
	t.Helper()
	labtest.Await(t, 30*time.Second, "log line with "+strings.Join(words, ", "), func() bool {
		return logged(tandem, words...)
	})
}

func logged(tandem *apps.Tandem, words ...string) bool { return countLogged(tandem, words...) > 0 }

// fetch downloads the file of a web server with curl and checks it.
func fetch(t *testing.T, h *lab.Host, web *apps.Nginx, addr netip.AddrPort, args ...string) apps.CurlResult {
	t.Helper()
	r := labtest.Curl(t, h, append(append([]string{"--max-time", "60"}, args...), web.URL(addr))...)
	checkFetched(t, web, r)
	return r
}

func checkFetched(t *testing.T, web *apps.Nginx, r apps.CurlResult) {
	t.Helper()
	if r.ExitCode != 0 || r.Status != 200 || r.Size != web.Size || r.SHA256 != web.SHA256 {
		t.Fatalf("curl's exit code %d (%s), status %d, %d bytes with hash %s; want %d with %s",
			r.ExitCode, r.Message, r.Status, r.Size, r.SHA256, web.Size, web.SHA256)
	}
}

// counters reads how many bytes links have carried towards their A ends.
func counters(t *testing.T, links ...*lab.Link) []uint64 {
	t.Helper()
	return readCounters(t, links, func(c lab.Counters) uint64 { return c.BToA })
}

// sent reads how many bytes links have carried towards their B ends.
func sent(t *testing.T, links ...*lab.Link) []uint64 {
	t.Helper()
	return readCounters(t, links, func(c lab.Counters) uint64 { return c.AToB })
}

func readCounters(t *testing.T, links []*lab.Link, of func(lab.Counters) uint64) []uint64 {
	t.Helper()
	var out []uint64
	for _, l := range links {
		c, err := l.Counters()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, of(c))
	}
	return out
}

// checkShares checks that each of some links has carried at least a share of
// what all of them have since an earlier reading.
func checkShares(t *testing.T, least float64, before []uint64, links ...*lab.Link) {
	t.Helper()
	now := counters(t, links...)
	var sum uint64
	for i := range now {
		now[i] -= before[i]
		sum += now[i]
	}
	for i, n := range now {
		if share := float64(n) / float64(sum); share < least {
			t.Errorf("%s carried %.0f %% of %d bytes, want at least %.0f %%", links[i].A.Dev, 100*share, sum, 100*least)
		}
	}
}
