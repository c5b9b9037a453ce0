// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/netip"
	"time"

	"github.com/tandem-gateway/tandem/config/password"
	"github.com/tandem-gateway/tandem/subscribers"
)

// Subscribers says who may be served and what each may do, where a listener asks
// for it; see docs/aaa.md. Who they are and the policies change on a reload, the
// rest when Tandem is started again.
type Subscribers struct {
	// Those that are known here.
	List []Subscriber `yaml:"list"`

	// What subscribers may do, by name.
	Policies []SubscriberPolicy `yaml:"policies"`

	// Name of the policy of those for whom none is named; no limits if not
	// given.
	DefaultPolicy string `yaml:"default-policy,omitempty"`

	// How long a session lasts without a connection. A session is what is
	// accounted for, and what a server can end.
	Linger time.Duration `yaml:"linger"`

	// File that keeps what was used of quotas; created if there is none. Without
	// it a restart forgets it. A relative path is relative to the configuration
	// file.
	QuotaFile string `yaml:"quota-file,omitempty"`

	// How often it is written: what a crash loses at most.
	QuotaFlush time.Duration `yaml:"quota-flush"`

	// Servers that know subscribers, and want to know what they use.
	RADIUS RADIUS `yaml:"radius"`
}

// Subscriber is somebody whose connections are counted together. At most one of
// the passwords is given; without one, RADIUS servers are asked about the
// password, or the subscriber is known by its sources.
type Subscriber struct {
	// Name, of at most 253 bytes and without `;`: the user name of SOCKS5.
	Name string `yaml:"name"`

	// The password in clear; better is one of the other two.
	Password string `yaml:"password,omitempty"`

	// File whose first line is the password. A relative path is relative to
	// the configuration file.
	PasswordFile string `yaml:"password-file,omitempty"`

	// Argon2id hash of the password, as the command `tandem hash-password`
	// prints it.
	PasswordHash string `yaml:"password-hash,omitempty"`

	// Prefixes of clients whose connections are the subscriber's though they
	// say no name: `convert` (cookies can prove the address), `tproxy`,
	// `redirect`, `forward`.
	Sources []netip.Prefix `yaml:"sources"`

	// Name of the policy; default-policy if not given.
	Policy string `yaml:"policy,omitempty"`
}

// SubscriberPolicy is what a subscriber may do. All limits are for all of its
// connections together.
type SubscriberPolicy struct {
	// Name to refer to it, also by the RADIUS attribute Filter-Id.
	Name string `yaml:"name"`

	// Connections at once; 0 is no limit.
	Connections int `yaml:"connections"`

	// New connections per second in the long run; 0 is no limit.
	NewPerSecond float64 `yaml:"new-per-second"`

	// New connections at once after a pause; 0 is as many as new-per-second.
	Burst int `yaml:"burst"`

	// Bits per second from the subscriber; 0 is no limit.
	RateUp Rate `yaml:"rate-up"`

	// Bits per second to the subscriber; 0 is no limit.
	RateDown Rate `yaml:"rate-down"`

	// Bytes in a period of time.
	Quota Quota `yaml:"quota"`

	// Options of the subscriber's connections.
	Options SubscriberOptions `yaml:"options"`

	// How long a session may last before its connections are ended; 0s is for
	// ever.
	Lifetime time.Duration `yaml:"lifetime"`

	// How long a session may go on without a byte; 0s is for ever.
	Idle time.Duration `yaml:"idle"`

	// Where the subscriber may go; the listener has to allow it too. If not
	// given, only the listener decides.
	Destinations *Destinations `yaml:"destinations,omitempty"`
}

// SubscriberOptions say which options the connections of a subscriber have, and
// what its clients may choose where the listener lets them; see docs/options.md.
type SubscriberOptions struct {
	// What connections have whose clients do not ask for something else, before
	// the defaults of the listener.
	Defaults OptionValues `yaml:"defaults"`

	// The most that clients get, if the listener does not allow less.
	Caps OptionCaps `yaml:"caps"`

	// Options that clients have no say in, besides those of the listener.
	Forbid []OptionName `yaml:"forbid"`

	// Congestion controls that clients may choose from, where the listener lets
	// them too; all if not given.
	CongestionControls []string `yaml:"congestion-controls"`
}

// Quota is how much a subscriber may move at its full rate.
type Quota struct {
	// Bytes in both directions together; 0 is no quota.
	Size Volume `yaml:"size"`

	// What it is for: `month`, `week`, `day` or `hour`, which begin at full hours
	// UTC.
	Period QuotaPeriod `yaml:"period"`

	// Bits per second in each direction when it is used up.
	ReducedRate Rate `yaml:"reduced-rate"`
}

// RADIUS are servers that know subscribers (RFC 2865).
type RADIUS struct {
	// Servers to ask about passwords and addresses, the most preferred first.
	// Answers need a Message-Authenticator.
	Servers []RADIUSServer `yaml:"servers"`

	// How long a server is waited for before it is asked again.
	Timeout time.Duration `yaml:"timeout"`

	// How often one is asked.
	Tries int `yaml:"tries"`

	// How long a server that did not answer is left alone while there is
	// another.
	DeadTime time.Duration `yaml:"dead-time"`

	// NAS-Identifier of this gateway.
	Identifier string `yaml:"identifier"`

	// NAS-IP-Address or NAS-IPv6-Address of this gateway; neither is sent if it
	// is not given.
	Address *netip.Addr `yaml:"address,omitempty"`

	// Asks about clients that say no name, by their address.
	ByAddress bool `yaml:"by-address"`

	// What is done when no server answers: `refuse` whose last answer is too
	// old, `cached` takes last answers however old, `allow` lets everybody in.
	WhenAway WhenAway `yaml:"when-away"`

	// How long answers are remembered.
	Cache RADIUSCache `yaml:"cache"`

	// Servers that are told what is used (RFC 2866).
	Accounting RADIUSAccounting `yaml:"accounting"`

	// Where servers can change or end sessions (RFC 5176).
	Dynamic RADIUSDynamic `yaml:"dynamic"`
}

// RADIUSServer is one server. Exactly one of the secrets is given.
type RADIUSServer struct {
	// Address and port.
	Address netip.AddrPort `yaml:"address"`

	// The secret in clear; better is a file.
	Secret string `yaml:"secret,omitempty"`

	// File whose first line is the secret. A relative path is relative to the
	// configuration file.
	SecretFile string `yaml:"secret-file,omitempty"`
}

// RADIUSCache bounds what is remembered of answers.
type RADIUSCache struct {
	// How long a right password needs no asking.
	Time time.Duration `yaml:"time"`

	// How long a wrong one does not.
	Negative time.Duration `yaml:"negative"`

	// Right passwords that are remembered, and wrong ones.
	Size int `yaml:"size"`
}

// RADIUSAccounting are servers that are told what is used.
type RADIUSAccounting struct {
	// The servers, the most preferred first; none if not given.
	Servers []RADIUSServer `yaml:"servers"`

	// Between records of one session, unless the server says otherwise; 0s is
	// one record at the beginning and one at the end.
	Interim time.Duration `yaml:"interim"`

	// Records that may wait while no server answers.
	Room int `yaml:"room"`
}

// RADIUSDynamic is where Disconnect- and CoA-Requests are taken.
type RADIUSDynamic struct {
	// Address and port, usually 3799; nowhere if not given.
	Listen *netip.AddrPort `yaml:"listen,omitempty"`

	// Who may send them.
	Clients []RADIUSClient `yaml:"clients"`

	// Takes requests without an Event-Timestamp. Whoever has seen one can send
	// it again then.
	WithoutTimestamp bool `yaml:"without-timestamp"`
}

// RADIUSClient is somebody who may send requests. Exactly one of the secrets is
// given.
type RADIUSClient struct {
	// Where they come from.
	Address netip.Addr `yaml:"address"`

	// The secret in clear; better is a file.
	Secret string `yaml:"secret,omitempty"`

	// File whose first line is the secret. A relative path is relative to the
	// configuration file.
	SecretFile string `yaml:"secret-file,omitempty"`
}

// Key returns the secret.
func (s RADIUSServer) Key() (string, error) { return secret(s.Secret, s.SecretFile) }

// Key returns the secret.
func (c RADIUSClient) Key() (string, error) { return secret(c.Secret, c.SecretFile) }

// QuotaPeriod is what a quota is for.
type QuotaPeriod string

// The periods.
const (
	QuotaMonth QuotaPeriod = "month"
	QuotaWeek  QuotaPeriod = "week"
	QuotaDay   QuotaPeriod = "day"
	QuotaHour  QuotaPeriod = "hour"
)

func (QuotaPeriod) values() []string {
	return []string{string(QuotaMonth), string(QuotaWeek), string(QuotaDay), string(QuotaHour)}
}

// WhenAway says what is done when no RADIUS server answers.
type WhenAway string

// What can be done.
const (
	AwayRefuse WhenAway = "refuse"
	AwayCached WhenAway = "cached"
	AwayAllow  WhenAway = "allow"
)

func (WhenAway) values() []string {
	return []string{string(AwayRefuse), string(AwayCached), string(AwayAllow)}
}

// Membership says whether the connections of a listener are subscribers'.
type Membership string

// The memberships.
const (
	MembersOff      Membership = "off"
	MembersOptional Membership = "optional"
	MembersRequired Membership = "required"
)

func (Membership) values() []string {
	return []string{string(MembersOff), string(MembersOptional), string(MembersRequired)}
}

// Known returns the subscriber as those who look for it know it.
func (s *Subscriber) Known() (subscribers.Subscriber, error) {
	known := subscribers.Subscriber{Name: s.Name, Sources: s.Sources, Policy: s.Policy}
	var err error
	if s.PasswordHash != "" {
		known.Hashed = true
		known.Hash, err = password.Parse(s.PasswordHash)
	} else {
		known.Password, err = secret(s.Password, s.PasswordFile)
	}
	return known, err
}
