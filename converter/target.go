// SPDX-License-Identifier: Apache-2.0

package converter

import (
	"fmt"
	"net/netip"
)

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// checkTarget applies the rules for the address in a Connect TLV (RFC 8803,
// section 6.2.5). Both sides do: the server because it must, the client so
// that a user's mistake is not taken for the converter's.
func checkTarget(target netip.AddrPort, allowLoopback bool) error {
	a := target.Addr().Unmap()
	reason := ""
	switch {
	case !a.IsValid():
		reason = "no address"
	case a.Zone() != "":
		reason = "zone"
	case target.Port() == 0:
		reason = "port 0"
	case a.IsUnspecified():
		reason = "unspecified"
	case a.IsMulticast():
		reason = "multicast"
	case a == broadcast:
		reason = "broadcast"
	case a.IsLoopback() && !allowLoopback:
		reason = "loopback"
	default:
		return nil
	}
	return fmt.Errorf("%w: %s: %s", ErrMalformedTarget, target, reason)
}
