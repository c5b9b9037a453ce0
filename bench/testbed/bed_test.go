// SPDX-License-Identifier: Apache-2.0

package testbed

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/bench/relay/peers"
	"github.com/tandem-gateway/tandem/bench/workload"
)

// programs are built once for all tests.
var programs string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "testbed")
	if err != nil {
		panic(err)
	}
	programs = dir
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// tandem builds the program.
var tandem = sync.OnceValues(func() (string, error) {
	program := filepath.Join(programs, "tandem")
	out, err := exec.Command("go", "build", "-o", program, "../../cmd/tandem").CombinedOutput()
	if err != nil {
		return "", errors.New(string(out))
	}
	return program, nil
})

func newBed(t *testing.T, spec Spec) *Bed {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip(lab.ErrNeedsRoot)
	}
	program, err := tandem()
	if err != nil {
		t.Fatal(err)
	}
	spec.Tandem = program
	b, err := New(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// fast makes links fast enough not to be waited for.
var fast = map[string][]string{
	"two-path":    {"wifi.delay=1ms", "cell.delay=1ms", "wifi.rate=100M", "cell.rate=100M"},
	"three-path":  {"wifi.delay=1ms", "cell.delay=1ms", "sat.delay=2ms", "wifi.rate=100M", "cell.rate=100M", "sat.rate=100M"},
	"phone":       {"wifi.jitter=0s", "cell.jitter=0s", "wifi.delay=1ms", "cell.delay=1ms", "wifi.loss=0"},
	"hybrid-home": {"lte.jitter=0s", "dsl.delay=1ms", "lte.delay=1ms", "dsl.rate=100M", "lte.rate=100M"},
	"dual-stack":  {"four.delay=1ms", "six.delay=1ms"},
}

// TestWays sends bytes over every way of every preset, and looks at the links
// that they take.
func TestWays(t *testing.T) {
	for _, preset := range Presets() {
		t.Run(preset, func(t *testing.T) {
			t.Parallel()
			spec := Spec{Preset: preset, Set: fast[preset]}
			if preset == "two-path" {
				spec.Steered, spec.Asked = true, []string{"round-robin", "weighted:50,50"}
			}
			b := newBed(t, spec)
			for i, w := range b.Ways() {
				carried := transfer(t, b, w)
				t.Logf("%s: %v", w.Name, carried)
				if i < len(b.Single()) && carried.Share(i) != 1 {
					t.Errorf("%s goes astray: %v", w.Name, carried)
				}
			}
			granted(t, b, len(spec.Asked))
		})
	}
}

// granted wants each scheduler of the bed to have been asked for and granted.
func granted(t *testing.T, b *Bed, least int) {
	t.Helper()
	status, err := b.AggregatorStatus(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range status.Options {
		if o.Option != "scheduler" || o.Asked == 0 {
			continue
		}
		if o.Asked < uint64(least) || o.Outcomes["as asked"] != o.Asked {
			t.Errorf("schedulers were asked for: %+v", o)
		}
		return
	}
	if least > 0 {
		t.Error("no scheduler was asked for")
	}
}

// transfer downloads, and again if it was over before a way that has several
// links used the second of them.
func transfer(t *testing.T, b *Bed, w Way) (carried Carried) {
	t.Helper()
	meter, err := b.Meter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	bytes := int64(600e3)
	labtest.Await(t, 30*time.Second, w.Name+" to use its links", func() bool {
		r, err := workload.Bulk{Streams: 1, Bytes: bytes}.Run(t.Context(), w.Dial)
		if err != nil || r.Done != 1 {
			t.Fatalf("%s: %v %+v", w.Name, err, r)
		}
		if carried, err = meter.Read(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		bytes *= 2
		// A download is answered on the link of its request then.
		return !w.Multipath || w.Name == Following || carried.Share(1) > 0.02
	})
	return carried
}

// TestPeers puts other relays in, as far as there are any.
func TestPeers(t *testing.T) {
	b := newBed(t, Spec{Preset: "two-path", Set: fast["two-path"]})
	for _, p := range b.Peers() {
		w, _, err := b.Start(t.Context(), p)
		if errors.Is(err, peers.ErrMissing) {
			t.Logf("%s: %v", p.Name, err)
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", p.Name, err)
			continue
		}
		r, err := workload.Clients{Clients: 2, Each: 3, Request: workload.Fixed(100), Answer: workload.Fixed(1000)}.Run(t.Context(), w.Dial)
		if err != nil || r.Done != 6 {
			t.Errorf("%s: %v %+v", p.Name, err, r)
		}
	}
}

func TestNoSite(t *testing.T) {
	if _, err := New(t.Context(), Spec{Preset: "cgn"}); !errors.Is(err, ErrNoSite) {
		t.Errorf("cgn: %v", err)
	}
}

func TestChoose(t *testing.T) {
	b := &Bed{site: sites["hybrid-home"]}
	b.Network = nil
	if len(b.Tandem()) != 4 || b.Plain().Multipath {
		t.Errorf("%d ways, %+v", len(b.Tandem()), b.Plain())
	}
}

func TestShares(t *testing.T) {
	c := Carried{Links: []string{"a", "b"}, Up: []uint64{1, 2}, Down: []uint64{2, 5}}
	if c.Share(0) != 0.3 || c.String() != "a 30 %, b 70 %" {
		t.Errorf("%v, %v", c.Share(0), c)
	}
	if (Carried{Links: []string{"a"}, Up: []uint64{0}, Down: []uint64{0}}).Share(0) != 0 {
		t.Error("a share of nothing")
	}
}
