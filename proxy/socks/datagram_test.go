// SPDX-License-Identifier: Apache-2.0

package socks

import (
	"bytes"
	"testing"
)

func FuzzDatagram(f *testing.F) {
	f.Add(datagram(v4, "payload"))
	f.Add(datagram(v6, "payload"))
	f.Add(nameDatagram("www.example.com", 443, "payload"))
	f.Add(nameDatagram("", 0, ""))
	f.Add([]byte{0, 0, 1, 1, 127, 0, 0, 1, 0, 9})
	f.Fuzz(func(t *testing.T, b []byte) {
		payload, addr, name, err := parseDatagram(b)
		if err != nil {
			return
		}
		var again []byte
		if name != nil {
			again = nameDatagram(string(name), addr.Port(), string(payload))
		} else {
			again = datagram(addr, string(payload))
		}
		p2, a2, n2, err := parseDatagram(again)
		if err != nil || a2 != addr || !bytes.Equal(n2, name) || !bytes.Equal(p2, payload) {
			t.Errorf("%x became %x: %v", b, again, err)
		}
	})
}
