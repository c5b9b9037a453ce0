// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/radius/radiustest"
	"github.com/tandem-gateway/tandem/records"
)

const byPrefix = `
access-networks:
  - {name: dsl, prefixes: [%s/32]}
  - {name: lte, prefixes: [%s/32]}
subscribers:
  list: [{name: home, sources: [198.51.100.0/24]}]
  linger: 1s
  radius: {accounting: {servers: [{address: "127.0.0.1:1813", secret: ` + radiustest.Secret + `}]}}
records: {file: {path: %s}}
`

const byInterface = `
access-networks:
  - {name: dsl, interfaces: [dsl]}
  - {name: lte, interfaces: [lte]}
`

// TestAccessNetworks downloads over two links, and compares what the aggregator,
// the home gateway, the records and a FreeRADIUS say that each has carried with
// what the links have.
func TestAccessNetworks(t *testing.T) {
	flows := filepath.Join(t.TempDir(), "flows.json")
	h := &home{HybridHome: labtest.HybridHome(t, equalHome)}
	server := radiustest.Start(t, radiustest.Config{Auth: "127.0.0.1:1812", Acct: "127.0.0.1:1813", Within: h.Aggregator.Do})
	atAggregator, placeAggregator := operatorAt(t, 0)
	atHome, placeHome := operatorAt(t, 0)
	h.v4 = netip.AddrPortFrom(h.ServerAddr.V4, 80)
	h.web = labtest.Nginx(t, h.Server, fileSize, h.v4)
	h.aggregator = runTandem(t, h.Aggregator, placeAggregator+fmt.Sprintf(byPrefix, h.DSL.Addr.V4, h.LTE.Addr.V4, flows)+
		strings.Replace(aggregator, "type: convert", "type: convert\n    subscribers: required", 1))
	h.cpe = runTandem(t, h.CPE, placeHome+byInterface+cpe)
	before := counters(t, h.links()...)
	fetch(t, h.Client, h.web, h.v4)
	// What has been sent twice may arrive after the end.
	var after []uint64
	quiet := 0
	labtest.Await(t, patience, "the links to be empty", func() bool {
		now := counters(t, h.links()...)
		if quiet++; !slices.Equal(now, after) {
			quiet = 0
		}
		after = now
		return quiet == 50
	})

	// down is what each network is said to have carried to the home.
	down := func(list []admin.NetworkBytes) map[string]uint64 {
		m := map[string]uint64{}
		for _, n := range list {
			m[n.Name] = n.Down
		}
		return m
	}
	ended := func(c *admin.Client) (s admin.Status) {
		labtest.Await(t, patience, "the connection to end", func() bool {
			var err error
			if s, err = c.Status(t.Context()); err != nil {
				t.Fatal(err)
			}
			return s.Connections.Active == 0
		})
		return s
	}
	check := func(who string, said map[string]uint64) {
		t.Helper()
		var sum uint64
		for i, name := range []string{"dsl", "lte"} {
			wire := after[i] - before[i]
			// Headers of IP, TCP and MPTCP are no payload: at most 100 bytes of 1,400.
			if n := said[name]; n > wire || n < wire*85/100 {
				t.Errorf("%s: %s has carried %d bytes, and its link %d with headers", who, name, n, wire)
			}
			sum += said[name]
		}
		if other := said["other"]; sum < uint64(fileSize) || other > 0 {
			t.Errorf("%s: %d bytes in all, and %d elsewhere; the file has %d", who, sum, other, fileSize)
		}
	}
	status := ended(atAggregator)
	said := down(status.Networks)
	check("the aggregator", said)
	check("the home gateway", down(ended(atHome).Networks))

	// The same in the record, for the subscriber, and in accounting.
	var line records.Line
	labtest.Await(t, patience, "the record", func() bool {
		line = lastLine(t, flows)
		return line.Down > 0
	})
	for name, n := range said {
		if line.Networks[name].Down != n {
			t.Errorf("the record: %+v, want %d bytes over %s", line.Networks, n, name)
		}
	}
	attribute := regexp.MustCompile(`Tandem-Access-Network = "(\w+) (\d+) (\d+)"`)
	labtest.Await(t, patience, "the last accounting record", func() bool {
		return strings.Contains(server.Detail(t), "Acct-Status-Type = Stop")
	})
	_, last, _ := strings.Cut(server.Detail(t), "Acct-Status-Type = Stop")
	accounted := map[string]uint64{}
	for _, m := range attribute.FindAllStringSubmatch(last, -1) {
		accounted[m[1]], _ = strconv.ParseUint(m[3], 10, 64)
	}
	for name, n := range said {
		if accounted[name] != n {
			t.Errorf("accounting: %v, want %d bytes over %s", accounted, n, name)
		}
	}
}

// lastLine is the youngest record of a file; an empty one if there is none.
func lastLine(t *testing.T, file string) (line records.Line) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		return line
	}
	defer f.Close()
	for in := bufio.NewScanner(f); in.Scan(); {
		line = records.Line{}
		if err := json.Unmarshal(in.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
	}
	return line
}

// TestAccessNetworkOfPlainTCP counts what needs no MPTCP.
func TestAccessNetworkOfPlainTCP(t *testing.T) {
	t.Parallel()
	operator, place := operatorAt(t, 0)
	tp := labtest.TwoPath(t, lab.TwoPathSpec{})
	echo(t, tp.Server, "203.0.113.80:7")
	tandem := runTandem(t, tp.Aggregator, place+`
access-networks: [{name: wifi, prefixes: [198.51.100.0/25]}, {name: cell, prefixes: [198.51.100.128/25]}]
listeners:
  - {name: relay, type: forward, listen: ["192.0.2.1:7"], allow-from: [198.51.100.0/24], forward: {target: "203.0.113.80:7"}}
`)
	r := &relayed{TwoPath: tp, tandem: tandem}
	c, err := r.dial("192.0.2.1:7")
	if err != nil {
		t.Fatal(err)
	}
	exchange(t, c)
	c.Close()
	labtest.Await(t, patience, "the connection to be counted", func() bool {
		s, err := operator.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		n := uint64(len(stillThere))
		return len(s.Networks) == 1 && s.Networks[0] == admin.NetworkBytes{Name: "wifi", Up: n, Down: n}
	})
}
