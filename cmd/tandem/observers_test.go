// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/records"
)

// TestPrometheusScrapesTandem has a Prometheus of Debian scrape a gateway that
// serves clients, and reads their record.
func TestPrometheusScrapesTandem(t *testing.T) {
	prometheus, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skip("prometheus is not installed: Debian package prometheus")
	}
	dir := t.TempDir()
	flows := filepath.Join(dir, "flows.json")
	r := newRelayed(t, "telemetry: {prometheus: {listen: ['127.0.0.1:9464']}}\nrecords: {file: {path: "+flows+"}}\n"+relayTo7)
	scrape := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(scrape, []byte("scrape_configs: [{job_name: tandem, scrape_interval: 200ms, scrape_timeout: 200ms, static_configs: [{targets: ['127.0.0.1:9464']}]}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	labtest.Start(t, r.Aggregator, prometheus, "--config.file="+scrape, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address=127.0.0.1:9090", "--log.level=warn")

	open, ended := r.tunnel(t, "192.0.2.1:7007"), r.tunnel(t, "192.0.2.1:7007")
	exchange(t, open)
	ended.Close()
	for query, want := range map[string]string{
		`tandem_connections_total{tandem_listener="first"}`:      "2",
		`tandem_connections_active{tandem_listener="first"}`:     "1",
		`tandem_dials_total{tandem_upstream="direct"}`:           "2",
		`tandem_dial_duration_seconds_count`:                     "2",
		`tandem_records_written_total`:                           "1",
		`tandem_io_bytes_total{network_io_direction="transmit"}`: strconv.Itoa(3 * len(stillThere)),
		`up{job="tandem"}`:                                       "1",
	} {
		labtest.Await(t, patience, query+" to be "+want, func() bool {
			got := labtest.Curl(t, r.Aggregator, "--max-time", "5", "http://127.0.0.1:9090/api/v1/query?query="+url.QueryEscape(query))
			return got.Status == 200 && strings.Contains(string(got.Body), `"`+want+`"]}`)
		})
	}
	var line records.Line
	b, err := os.ReadFile(flows)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &line); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	if line.Listener != "first" || line.Server != "203.0.113.80:7" || line.Up == 0 || line.Up != line.Down || line.Ended != records.Complete ||
		!strings.HasPrefix(line.Local, "203.0.113.") || line.ClientMPTCP != "peer_tcp" {
		t.Errorf("record %s", b)
	}
}
