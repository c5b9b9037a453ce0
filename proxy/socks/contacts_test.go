// SPDX-License-Identifier: Apache-2.0

package socks

import (
	"net/netip"
	"testing"
)

func TestContactsForgetTheOldest(t *testing.T) {
	var c contacts
	host := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}) }
	for i := range 5 * maxContacts {
		c.add(host(i))
		for j := max(0, i-maxContacts+1); j <= i; j += 100 {
			if !c.has(host(j)) {
				t.Fatalf("after %d hosts the %d-th is forgotten", i+1, j+1)
			}
		}
	}
	if n := len(c.young) + len(c.former); n > 2*maxContacts {
		t.Errorf("remembers %d hosts", n)
	}
	if c.has(host(0)) {
		t.Error("the first host is still remembered")
	}
}
