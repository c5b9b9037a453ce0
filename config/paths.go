// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/netip"
	"time"
)

// Paths say which subflows MPTCP connections have. They apply to connections
// from their beginning: a reload changes those that come after it.
type Paths struct {
	// Who decides: the path manager of the kernel with its endpoints
	// (`ip mptcp endpoint`), or one of Tandem's, which is the safer choice for
	// upstreams; see docs/path-managers.md.
	Manager PathManager `yaml:"manager"`

	// For `ndiffports`: subflows between the same two addresses.
	Subflows int `yaml:"subflows"`

	// For `fullmesh` on listeners: addresses and ports that clients are told of
	// (ADD_ADDR), to open subflows to.
	Announce []netip.AddrPort `yaml:"announce"`

	// For `refreshing`: the age at which a subflow is replaced by a new one;
	// 0s is none.
	MaxAge time.Duration `yaml:"max-age"`

	// For `delaying`: more subflows once the connection has carried so many
	// bytes, both ways; 0 is no such condition.
	Bytes Size `yaml:"bytes"`

	// For `delaying`: more subflows once the connection is so old; 0s is no
	// such condition.
	After time.Duration `yaml:"after"`

	// For `delaying`: more subflows while the connection carries data, but less
	// than this rate; 0 is no such condition.
	Below Rate `yaml:"below"`

	// For `refreshing` and `delaying`: the manager that decides what should
	// exist besides.
	Then PathManager `yaml:"then,omitempty"`

	// Subflows that a connection may have, whoever opens them.
	MaxSubflows int `yaml:"max-subflows"`

	// Subflows per second that are opened for one connection.
	OpensPerSecond float64 `yaml:"opens-per-second"`

	// Prefixes from which peers may not open further subflows.
	RefuseJoins []netip.Prefix `yaml:"refuse-joins"`

	// Network interfaces that subflows may leave by; all if not given.
	Interfaces []string `yaml:"interfaces"`

	// Those of them that carry data only while no other does.
	BackupInterfaces []string `yaml:"backup-interfaces"`

	// How long a connection is kept that has lost all its subflows: its peer
	// may come back with another address, and nothing is lost.
	Keep time.Duration `yaml:"keep"`
}

// Managed reports whether subflows are Tandem's matter, not the kernel's.
func (p *Paths) Managed() bool { return p.Manager != PathsKernel }
