// SPDX-License-Identifier: Apache-2.0

package apps

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestWriteDataIsDeterministic(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, size int64, seed uint64) string {
		hash, err := WriteData(filepath.Join(dir, name), size, seed)
		if err != nil {
			t.Fatal(err)
		}
		if st, err := os.Stat(filepath.Join(dir, name)); err != nil || st.Size() != size {
			t.Fatalf("%s: %v, %v, want %d bytes", name, st, err, size)
		}
		return hash
	}
	first := write("a", 100_001, 1)
	if second := write("b", 100_001, 1); second != first {
		t.Errorf("hashes %s and %s of the same seed", first, second)
	}
	if other := write("c", 100_001, 2); other == first {
		t.Error("two seeds give the same data")
	}
	const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	if got := write("d", 0, 1); got != empty {
		t.Errorf("hash of nothing: %s", got)
	}
}

func TestParseRequest(t *testing.T) {
	for line, want := range map[string]Request{
		`192.0.2.1 4444 "GET /data HTTP/1.1" 200 17 "-" -`: {
			Remote: netip.MustParseAddrPort("192.0.2.1:4444"), Line: "GET /data HTTP/1.1", Status: 200, Bytes: 17,
		},
		`2001:db8::1 1 "GET / HTTP/1.0" 404 0 "192.0.2.7" 99`: {
			Remote: netip.MustParseAddrPort("[2001:db8::1]:1"), Line: "GET / HTTP/1.0", Status: 404,
			Proxied: netip.MustParseAddrPort("192.0.2.7:99"),
		},
		// nginx writes a request that is not HTTP in its own escapes.
		`192.0.2.1 4444 "\x05\x01\x00" 400 150 "-" -`: {
			Remote: netip.MustParseAddrPort("192.0.2.1:4444"), Line: "\x05\x01\x00", Status: 400, Bytes: 150,
		},
	} {
		got, err := parseRequest(line)
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
			t.Errorf("%s: -want +got:\n%s", line, diff)
		}
	}
	for _, line := range []string{"", "192.0.2.1 4444", `nobody 1 "GET /" 200 1 "-" -`, `192.0.2.1 70000 "GET /" 200 1 "-" -`} {
		if r, err := parseRequest(line); err == nil {
			t.Errorf("%q gives %+v", line, r)
		}
	}
}

func TestReadReport(t *testing.T) {
	var r CurlResult
	err := r.readReport("curl: (18) transfer closed\n\n{\"http_code\":200,\"time_total\":0.5,\"speed_download\":1000}\n")
	want := CurlResult{Message: "curl: (18) transfer closed", Status: 200, Elapsed: time.Second / 2, Rate: 8000}
	if diff := cmp.Diff(want, r); err != nil || diff != "" {
		t.Errorf("%v, -want +got:\n%s", err, diff)
	}
	r = CurlResult{}
	if err := r.readReport("curl: (2) no URL specified\n"); err != nil || r.Message != "curl: (2) no URL specified" {
		t.Errorf("without report: %+v, %v", r, err)
	}
	if err := r.readReport("\n{broken"); err == nil {
		t.Error("a broken report is accepted")
	}
}
