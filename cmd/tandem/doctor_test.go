// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/doctor"
)

// doctorOn runs tandem doctor on a host.
func doctorOn(t *testing.T, h *lab.Host, config string) doctor.Report {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "tandem.yaml")
	if err := os.WriteFile(file, []byte(complete(config)), 0o600); err != nil {
		t.Fatal(err)
	}
	p := h.Command(t.Context(), program, "doctor", "--json", "--config", file)
	p.Env = append(os.Environ(), asTandem+"=1", "GORACE=halt_on_error=1")
	out, err := p.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	var r doctor.Report
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if failed := p.ExitCode() == 1; failed != (r.Failed > 0) {
		t.Errorf("exit code %d, and %d checks failed", p.ExitCode(), r.Failed)
	}
	return r
}

// finding is a row that is expected: its check, verdict, and a part of its
// command.
type finding struct {
	check   string
	verdict doctor.Verdict
	mend    string
}

// expect looks for findings and returns their rows.
func expect(t *testing.T, r *doctor.Report, findings ...finding) []doctor.Row {
	t.Helper()
	var found []doctor.Row
	for _, f := range findings {
		row := rowOf(r, f.check)
		switch {
		case row == nil:
			t.Errorf("no row %q", f.check)
			continue
		case row.Verdict != f.verdict || !strings.Contains(row.Mend, f.mend):
			t.Errorf("%+v, want %s, mended by %q", row, f.verdict, f.mend)
		case row.Verdict != doctor.OK && (row.Found == "" || row.Lost == ""):
			t.Errorf("does not say what is the matter: %+v", row)
		}
		found = append(found, *row)
	}
	return found
}

func rowOf(r *doctor.Report, check string) *doctor.Row {
	for i := range r.Rows {
		if r.Rows[i].Check == check {
			return &r.Rows[i]
		}
	}
	return nil
}

// mend runs the commands of rows on the host, and expects them to be well then.
func mend(t *testing.T, h *lab.Host, config string, rows []doctor.Row) {
	t.Helper()
	for _, row := range rows {
		shell(t, h, row.Mend)
	}
	r := doctorOn(t, h, config)
	for _, row := range rows {
		if again := rowOf(&r, row.Check); again == nil || again.Verdict != doctor.OK {
			t.Errorf("after %q: %+v", row.Mend, again)
		}
	}
}

// shell runs a command line on a host.
func shell(t *testing.T, h *lab.Host, line string) {
	t.Helper()
	p := h.Command(context.Background(), "sh", "-ec", line)
	if out, err := p.Output(); err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
}

const (
	dslAddress, lteAddress = "dsl (198.51.100.2)", "lte (198.51.100.130)"
	overDSL                = "hag at 192.0.2.1:8803 over " + dslAddress
	overLTE                = "hag at 192.0.2.1:8803 over " + lteAddress
)

// TestDoctor breaks a home gateway in many ways, has each found, and does what
// the doctor says.
func TestDoctor(t *testing.T) {
	t.Parallel()
	h := labtest.HybridHome(t, lab.HybridHomeSpec{})
	runTandem(t, h.Aggregator, aggregator)
	well := doctorOn(t, h.CPE, cpe)
	expect(t, &well,
		finding{"MPTCP", doctor.OK, ""}, finding{"links to aggregators", doctor.OK, ""},
		finding{"routes from " + dslAddress, doctor.OK, ""}, finding{"routes from " + lteAddress, doctor.OK, ""},
		finding{"path from " + lteAddress + " to 192.0.2.1", doctor.OK, ""}, finding{"endpoint of " + lteAddress, doctor.OK, ""},
		finding{overDSL, doctor.OK, ""}, finding{overDSL + ", MPTCP", doctor.OK, ""}, finding{overDSL + ", Fast Open", doctor.OK, ""},
		finding{overLTE, doctor.OK, ""}, finding{overLTE + ", MPTCP", doctor.OK, ""}, finding{overLTE + ", Fast Open", doctor.OK, ""})
	if t.Failed() {
		t.Fatalf("%+v", well)
	}

	shell(t, h.CPE, `
sysctl -qw net.ipv4.tcp_fastopen=0 net.ipv4.ip_forward=0 net.ipv4.conf.dsl.rp_filter=1 net.mptcp.pm_type=1
ip mptcp limits set subflow 0
ip mptcp endpoint flush
ip rule del from 198.51.100.130 table 102
ip link set dev dsl mtu 1200`)
	// Packets over LTE are lost beyond a size, and nobody says so.
	shell(t, h.Aggregator, "ip link set dev lte mtu 1400")
	sick := doctorOn(t, h.CPE, cpe)
	mend(t, h.CPE, cpe, expect(t, &sick,
		finding{"TCP Fast Open towards aggregators", doctor.Warning, "sysctl -w net.ipv4.tcp_fastopen="},
		finding{"net.ipv4.ip_forward", doctor.Warning, "sysctl -w net.ipv4.ip_forward=1"},
		finding{"source check of dsl", doctor.Warning, "rp_filter=2"},
		finding{"kind", doctor.Failed, "sysctl -w"},
		finding{"limits", doctor.Failed, "ip mptcp limits set"},
		finding{"endpoint of " + dslAddress, doctor.Failed, "ip mptcp endpoint add 198.51.100.2 dev dsl subflow"},
		finding{"endpoint of " + lteAddress, doctor.Failed, "ip mptcp endpoint add 198.51.100.130 dev lte subflow"},
		finding{"MTU of dsl", doctor.Warning, "ip link set dev dsl mtu 1280"},
		finding{"routes from " + lteAddress, doctor.Warning, "ip rule add from 198.51.100.130 table 102"}))
	// The path was another one without the rule.
	small := doctorOn(t, h.CPE, cpe)
	mend(t, h.CPE, cpe, expect(t, &small, finding{"path from " + lteAddress + " to 192.0.2.1", doctor.Failed, "ip link set dev lte mtu 14"}))
}

// TestDoctorMiddlebox: one link takes MPTCP away, the other drops SYNs with data.
func TestDoctorMiddlebox(t *testing.T) {
	t.Parallel()
	h := labtest.HybridHome(t, lab.HybridHomeSpec{})
	runTandem(t, h.Aggregator, aggregator)
	nft(t, h.Aggregator, `table inet middlebox { chain in { type filter hook prerouting priority raw;
		iifname dsl tcp dport 8803 tcp flags & (syn|ack) == syn reset tcp option mptcp;
		iifname lte tcp dport 8803 tcp flags & (syn|ack) == syn meta length > 80 drop;
	}; }`)
	r := doctorOn(t, h.CPE, cpe)
	rows := expect(t, &r,
		finding{overDSL, doctor.OK, ""}, finding{overDSL + ", MPTCP", doctor.Warning, "ip route replace 192.0.2.1 via 198.51.100.129 dev lte"},
		finding{overLTE, doctor.OK, ""}, finding{overLTE + ", MPTCP", doctor.OK, ""}, finding{overLTE + ", Fast Open", doctor.Warning, "tcp_fastopen=3"})
	if t.Failed() {
		t.Fatalf("%+v", r)
	}
	shell(t, h.CPE, rows[1].Mend) // which has connections begin on LTE
	again := doctorOn(t, h.CPE, cpe)
	expect(t, &again, finding{overDSL + ", MPTCP", doctor.Warning, "ip mptcp endpoint delete id"})
}

// TestDoctorNothingWorks: the aggregator is away, and the kernel has no MPTCP.
func TestDoctorNothingWorks(t *testing.T) {
	t.Parallel()
	h := labtest.HybridHome(t, lab.HybridHomeSpec{})
	shell(t, h.CPE, "sysctl -qw net.mptcp.enabled=0")
	r := doctorOn(t, h.CPE, cpe)
	expect(t, &r,
		finding{"MPTCP", doctor.Failed, "sysctl -w net.mptcp.enabled=1"},
		finding{overDSL, doctor.Failed, "systemctl start tandem"}, finding{overLTE, doctor.Failed, "systemctl start tandem"})
}

// TestDoctorNoAnswer: what answers is not what is meant, or not to this address.
func TestDoctorNoAnswer(t *testing.T) {
	t.Parallel()
	h := labtest.HybridHome(t, lab.HybridHomeSpec{})
	runTandem(t, h.Aggregator, `listeners:
  - {name: others, type: convert, listen: ["192.0.2.1:8803"], allow-from: [10.0.0.0/8]}
  - {name: phones, type: socks5, listen: ["192.0.2.1:1080"], allow-from: [198.51.100.0/24]}
`)
	labtest.Nginx(t, h.Aggregator, 1000, netip.MustParseAddrPort("192.0.2.1:8080"))
	nft(t, h.Aggregator, "table inet silent { chain in { type filter hook prerouting priority raw; tcp dport 8804 drop; }; }")
	r := doctorOn(t, h.CPE, strings.Replace(cpe, "upstreams:\n", `upstreams:
  - {name: other, type: convert, servers: ["192.0.2.1:1080"], when-down: refuse}
  - {name: web, type: convert, servers: ["192.0.2.1:8080"], when-down: refuse}
  - {name: silent, type: convert, servers: ["192.0.2.1:8804"], when-down: refuse}
`, 1))
	for upstream, want := range map[string]struct{ lost, mend string }{
		"hag at 192.0.2.1:8803":    {"allow-from", ""},
		"other at 192.0.2.1:1080":  {"does not speak convert", ""},
		"web at 192.0.2.1:8080":    {"something else than convert", ""},
		"silent at 192.0.2.1:8804": {"drops packets", "systemctl start tandem"},
	} {
		row := rowOf(&r, upstream+" over "+dslAddress)
		if row == nil || row.Verdict != doctor.Failed || !strings.Contains(row.Lost, want.lost) || row.Mend != want.mend {
			t.Errorf("%s: %+v, want %+v", upstream, row, want)
		}
	}
}

// TestDoctorNames: the configuration names what the machine does not have.
func TestDoctorNames(t *testing.T) {
	t.Parallel()
	tp := labtest.TwoPath(t, lab.TwoPathSpec{})
	const config = `
rights: {user: nobody-at-all}
listeners:
  - {name: phones, type: socks5, listen: ["192.0.2.1:1080", "192.0.2.77:1080", "[2001:db8:a::77]:1080"], allow-from: [198.51.100.0/24], upstream: several}
  - {name: bound, type: socks5, listen: ["127.0.0.1:1081"], socket: {device: nosuch0}}
  - {name: lan, type: tproxy, listen: ["127.0.0.1:8804"], tproxy: {interfaces: [later0, core]}}
upstreams:
  - {name: several, type: direct, direct: {source: pool, pool: [192.0.2.1, 192.0.2.200]}}
`
	r := doctorOn(t, tp.Aggregator, config)
	rows := expect(t, &r,
		finding{"addresses of listener phones", doctor.Failed, "ip address add 192.0.2.77/32 dev lo && ip address add 2001:db8:a::77/128 dev lo"},
		finding{"addresses of upstream several", doctor.Failed, "ip route add local 192.0.2.200 dev lo"},
		finding{"addresses of listener bound", doctor.OK, ""},
		finding{"interface nosuch0 of listener bound", doctor.Failed, ""},
		finding{"interface later0 of listener lan", doctor.Warning, ""},
		finding{"interface core of listener lan", doctor.OK, ""},
		finding{"rights.user", doctor.Failed, "useradd --system"})
	if t.Failed() {
		t.Fatalf("%+v", r)
	}
	mend(t, tp.Aggregator, config, rows[:2])
}
