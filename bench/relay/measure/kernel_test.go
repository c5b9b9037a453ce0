// SPDX-License-Identifier: Apache-2.0

package measure

import (
	"errors"
	"net"
	"os"
	"strconv"
	"testing"
)

func TestParseSlabs(t *testing.T) {
	const head = "slabinfo - version: 2.1\n# name <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables\n"
	const tail = " : tunables 0 0 0 : slabdata 1 1 0\n"
	for _, tt := range []struct {
		name, text string
		want       int64
		err        error
	}{
		{name: "sockets", text: head + "TCP 100 117 2368 13 8" + tail + "sock_inode_cache 19 38 832 19 4" + tail, want: 100*8*4096/13 + 4*4096},
		{name: "file systems", text: head + "ext4_inode_cache 9 9 1128 14 4" + tail + "inode_cache 9 9 9 9 9" + tail + "buffer_head 9 9 9 9 9" + tail},
		{name: "an empty cache", text: head + "x 0 0 9 0 0" + tail},
		{name: "cut short", text: head + "TCP 100 117\n", err: errShort},
		{name: "not a number", text: head + "TCP 1 1 1 x 8" + tail, err: strconv.ErrSyntax},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseSlabs([]byte(tt.text), 4096)
			if !errors.Is(err, tt.err) || got != tt.want {
				t.Errorf("%d, %v, want %d, %v", got, err, tt.want, tt.err)
			}
		})
	}
}

func TestParseTCPPages(t *testing.T) {
	const text = "sockets: used 16\nTCP: inuse 1 orphan 0 tw 0 alloc 16 mem 4704\nUDP: inuse 0 mem 0\n"
	if got, err := parseTCPPages([]byte(text)); err != nil || got != 4704 {
		t.Errorf("%d, %v", got, err)
	}
	if _, err := parseTCPPages([]byte("UDP: inuse 0 mem 3\nTCP: inuse 1\n")); !errors.Is(err, errNoTCPPages) {
		t.Errorf("without it: %v", err)
	}
	if _, err := parseTCPPages([]byte("TCP: mem x\n")); !errors.Is(err, strconv.ErrSyntax) {
		t.Errorf("not a number: %v", err)
	}
}

// TestReadKernel opens sockets and finds them.
func TestReadKernel(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may read /proc/slabinfo")
	}
	before, err := ReadKernel()
	if errors.Is(err, os.ErrNotExist) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	const sockets = 4000
	for range sockets {
		l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
	}
	after, err := ReadKernel()
	if err != nil {
		t.Fatal(err)
	}
	// Others may give memory back meanwhile: a socket takes more than 2 kB.
	if got := after.Objects - before.Objects; got < sockets<<10 {
		t.Errorf("%d sockets hold %d bytes", sockets, got)
	}
}
