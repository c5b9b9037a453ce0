// SPDX-License-Identifier: Apache-2.0

package lab

import "fmt"

// TwoPathSpec describes the access links of a [TwoPath].
type TwoPathSpec struct {
	WiFi, Cell LinkSpec
}

// TwoPath is a client with two links of its own, such as a phone:
//
//	          wifi 198.51.100.0/25, 2001:db8:d::/64
//	        .--------------------------------------.             core
//	client <                                        > aggregator ------ server
//	        '--------------------------------------'
//	          cell 198.51.100.128/25, 2001:db8:e::/64
//
// Routing, endpoints and limits of the client are those of the CPE of a
// [HybridHome]; it prefers Wi-Fi.
type TwoPath struct {
	*backbone
	Client *Host
	// WiFi and Cell connect the client (A) to the aggregator (B).
	WiFi, Cell Access
}

// NewTwoPath builds a TwoPath. The caller closes it.
func NewTwoPath(name string, spec TwoPathSpec) (*TwoPath, error) {
	b, err := newBackbone(name, spec.WiFi, spec.Cell)
	if err != nil {
		return nil, err
	}
	tp := &TwoPath{backbone: b}
	if err := tp.build(spec); err != nil {
		b.Close()
		return nil, fmt.Errorf("lab %q: %w", name, err)
	}
	return tp, nil
}

func (tp *TwoPath) build(spec TwoPathSpec) error {
	var err error
	if tp.Client, err = tp.Host("client"); err != nil {
		return err
	}
	if err := tp.Client.MPTCPLimits(mptcpLimit, mptcpLimit); err != nil {
		return err
	}
	tp.WiFi, err = tp.connect(tp.Client, Access{
		Dev: "wifi", Table: 101,
		Addr:    dual("198.51.100.2", "2001:db8:d::2"),
		Gateway: dual("198.51.100.1", "2001:db8:d::1"),
	}, 100, spec.WiFi)
	if err != nil {
		return err
	}
	tp.Cell, err = tp.connect(tp.Client, Access{
		Dev: "cell", Table: 102,
		Addr:    dual("198.51.100.130", "2001:db8:e::2"),
		Gateway: dual("198.51.100.129", "2001:db8:e::1"),
	}, 200, spec.Cell)
	return err
}
