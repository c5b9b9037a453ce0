// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

var metricForm = regexp.MustCompile(`\btandem_[a-z_]+`)

// TestDeployedFilesNameMetrics finds names in alerts and on the dashboard that
// no metric has.
func TestDeployedFilesNameMetrics(t *testing.T) {
	known := map[string]bool{"tandem_upstream": true, "tandem_listener": true}
	for line := range strings.Lines(scrape(t, start(t, Options{Read: busy, Prometheus: anyPort}))) {
		known[metricForm.FindString(line)] = true
	}
	for _, file := range []string{"../deploy/prometheus/alerts.yml", "../deploy/grafana/tandem.json"} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(file, ".json") && !json.Valid(b) {
			t.Errorf("%s is no JSON", file)
		}
		names := metricForm.FindAllString(string(b), -1)
		if len(names) < 5 {
			t.Errorf("%s names only %v", file, names)
		}
		for _, name := range names {
			if !known[name] {
				t.Errorf("%s names %s, which is no metric", file, name)
			}
		}
	}
}

func TestAlerts(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed: Debian package prometheus")
	}
	for _, args := range [][]string{{"check", "rules", "alerts.yml"}, {"test", "rules", "alerts_test.yml"}, {"check", "config", "prometheus.yml"}} {
		cmd := exec.Command(promtool, args...)
		cmd.Dir = "../deploy/prometheus"
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}
