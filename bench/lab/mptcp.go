// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"net/netip"
	"strconv"
)

// Endpoint adds an endpoint of the in-kernel MPTCP path manager: an address of
// a device with flags such as "subflow", "signal", "backup" or "fullmesh" (see
// ip-mptcp(8)).
func (h *Host) Endpoint(addr netip.Addr, dev string, flags ...string) error {
	args := append([]string{"mptcp", "endpoint", "add", addr.String(), "dev", dev}, flags...)
	if _, err := h.output("ip", args...); err != nil {
		return fmt.Errorf("add endpoint: %w", err)
	}
	return nil
}

// MPTCPLimits sets how many extra subflows a connection may have and how many
// announced addresses it accepts; the kernel allows up to 8 of each.
func (h *Host) MPTCPLimits(subflows, addrsAccepted int) error {
	_, err := h.output("ip", "mptcp", "limits", "set",
		"subflow", strconv.Itoa(subflows), "add_addr_accepted", strconv.Itoa(addrsAccepted))
	if err != nil {
		return fmt.Errorf("set limits: %w", err)
	}
	return nil
}
