// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tandem-gateway/tandem/trace"
	"github.com/tandem-gateway/tandem/trace/packet"
	"github.com/tandem-gateway/tandem/trace/summary"
)

// captureFile is of a lab: a request and an answer of 100,000 bytes over two
// subflows, and a connection whose MPTCP options a middlebox stripped.
const captureFile = "../../trace/testdata/two-paths.pcap"

// runTraceCommand runs the command without the rest of the program.
func runTraceCommand(t *testing.T, in io.Reader, args ...string) (string, error) {
	t.Helper()
	cmd := traceCommand()
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(args)
	cmd.SetIn(in)
	var out bytes.Buffer
	cmd.SetOut(&out)
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func TestTraceCommand(t *testing.T) {
	file, err := os.ReadFile(captureFile)
	if err != nil {
		t.Fatal(err)
	}
	page := filepath.Join(t.TempDir(), "page.html")
	text, err := runTraceCommand(t, nil, captureFile, "--html", page)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"connections that asked for MPTCP", "no MP_CAPABLE in SYN-ACK: 1", "connections with 2", "join delay, ms"} {
		if !strings.Contains(text, want) {
			t.Errorf("the summary lacks %q:\n%s", want, text)
		}
	}
	html, err := os.ReadFile(page)
	if err != nil || !bytes.Contains(html, []byte("MPTCP in two-paths.pcap")) || bytes.Count(html, []byte("<svg")) < 5 {
		t.Errorf("page: %v, %d bytes", err, len(html))
	}

	text, err = runTraceCommand(t, bytes.NewReader(file), "-", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var s struct {
		Counts   trace.Counts             `json:"counts"`
		Outcomes map[trace.Outcome]uint64 `json:"outcomes"`
		Down     summary.Bytes            `json:"down"`
	}
	if err := json.Unmarshal([]byte(text), &s); err != nil || s.Counts.MPTCP != 2 || s.Outcomes[trace.FellBack] != 1 || s.Down.Bytes != 100_000 {
		t.Errorf("%v, %+v", err, s)
	}

	text, err = runTraceCommand(t, nil, captureFile, "--connections", "--json")
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(strings.NewReader(text))
	for n := 0; ; n++ {
		var c trace.Connection
		if err := d.Decode(&c); err == io.EOF && n == 2 {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if len(c.Subflows) != 2 && c.Fallback == "" {
			t.Errorf("%+v", c)
		}
	}

	text, err = runTraceCommand(t, nil, captureFile, "--connections", "--subflows")
	if lines := strings.Count(text, "\n"); err != nil || lines != 1+2+3 || !strings.Contains(text, "data-fin") {
		t.Errorf("%v, %d lines:\n%s", err, lines, text)
	}
}

func TestTraceCommandRefuses(t *testing.T) {
	file, err := os.ReadFile(captureFile)
	if err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{
		"nothing to read":       {"none.pcap"},
		"no connections":        {captureFile, "--live", "0"},
		"no time":               {captureFile, "--idle", "0s"},
		"subflows of a summary": {captureFile, "--subflows"},
		"page nowhere":          {captureFile, "--html", filepath.Join(t.TempDir(), "none", "page.html")},
	} {
		if text, err := runTraceCommand(t, nil, args...); err == nil {
			t.Errorf("%s: %s", name, text)
		}
	}
	if _, err := runTraceCommand(t, strings.NewReader("not a capture"), "-"); !errors.Is(err, packet.ErrFormat) {
		t.Errorf("not a capture: %v", err)
	}
	// What came before damage is told.
	damaged := append(bytes.Clone(file), bytes.Repeat([]byte{0xff}, 100)...)
	if text, err := runTraceCommand(t, bytes.NewReader(damaged), "-"); err == nil || !strings.Contains(text, "connections with 2") {
		t.Errorf("damaged: %v\n%s", err, text)
	}
}
