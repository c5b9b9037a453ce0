// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/tandem-gateway/tandem/config/password"
	"github.com/tandem-gateway/tandem/mptcp"
)

func (v *validator) listener(path string, c *Config, l *Listener, names map[string]string) {
	v.name(join(path, "name"), l.Name, names)
	if l.Type == "" {
		v.missing(join(path, "type"), "want "+listOf(l.Type.values()))
	} else {
		v.sections(path, l.Type.values(), string(l.Type), "listeners")
	}
	if len(l.Listen) == 0 {
		v.missing(join(path, "listen"), `want addresses and ports, such as ["127.0.0.1:1080", "[::1]:1080"]`)
	}
	for i, a := range l.Listen {
		v.listenAddress(fmt.Sprintf("%s.listen[%d]", path, i), a)
	}
	if l.Type.Intercepts() {
		v.intercepting(join(path, "listen"), l.Listen)
	}
	ranged(v, join(path, "fast-open"), l.FastOpen, 0, math.MaxUint16)
	v.count(join(path, "backlog"), l.Backlog)
	v.socket(join(path, "socket"), l.Socket)
	if at := join(path, "timeouts"); v.given(at) {
		v.timeouts(at, l.Timeouts)
	}
	v.paths(join(path, "paths"), &l.Paths)
	v.options(join(path, "options"), &l.Options)
	v.allowFrom(path, l)
	v.listenerUpstream(join(path, "upstream"), c, l)
	v.destinations(join(path, "destinations"), l)
	switch {
	case l.Type == ListenSOCKS5:
		v.socks5Server(join(path, "socks5"), l.SOCKS5)
	case l.Type == ListenConvert:
		v.convertServer(join(path, "convert"), l)
	case l.Type == ListenTProxy:
		v.tproxy(join(path, "tproxy"), l.TProxy)
	case l.Type == ListenRedirect:
		v.redirect(path, l)
	case l.Type == ListenForward && l.Forward.Target == Target{}:
		v.missing(join(path, "forward.target"), "want a host and a port, such as www.example.com:443")
	}
}

// sections checks that the options of other types than t were not given.
func (v *validator) sections(path string, types []string, t, of string) {
	for _, other := range types {
		if at := join(path, other); other != t && v.given(at) {
			v.bad(at, fmt.Sprintf("belongs to %s of type %s", of, other), "want type: "+other+", or options of type "+t)
		}
	}
}

func (v *validator) listenAddress(path string, a netip.AddrPort) {
	switch {
	case !a.IsValid():
	case a.Addr().IsMulticast():
		v.bad(path, a.Addr().String()+" is a multicast address", "want an address of this machine")
	case a.Addr().Zone() != "" && !a.Addr().IsLinkLocalUnicast():
		v.bad(path, a.Addr().String()+" has a zone", "want zones on link-local addresses only")
	case a.Addr().Zone() == "" && a.Addr().Is6() && a.Addr().IsLinkLocalUnicast():
		v.bad(path, a.Addr().String()+" lacks a zone", "want the interface too, such as "+a.Addr().WithZone("eth0").String())
	}
}

// intercepting checks addresses that intercepted traffic is delivered to.
func (v *validator) intercepting(path string, listen []netip.AddrPort) {
	first := map[bool]netip.AddrPort{}
	for i, a := range listen {
		at := fmt.Sprintf("%s[%d]", path, i)
		v4 := a.Addr().Unmap().Is4()
		switch {
		case !a.IsValid():
		case a.Port() == 0:
			v.bad(at, "port 0", "want a port, for the firewall rules")
		case a.Addr().Zone() != "":
			v.bad(at, a.Addr().String()+" has a zone", "want a loopback address")
		case first[v4].IsValid():
			v.bad(at, fmt.Sprintf("%v beside %v", a, first[v4]), "want one address of each family")
		default:
			first[v4] = a
		}
	}
}

// allowFrom makes open relays impossible unless they are asked for.
func (v *validator) allowFrom(path string, l *Listener) {
	path = join(path, "allow-from")
	unique(v, path, l.AllowFrom)
	switch {
	case l.Type == "" || len(l.Listen) == 0 || slices.ContainsFunc(l.Listen, invalid):
	case l.AllowFrom == nil:
		v.missing(path, "want the prefixes of those who may use a listener that others than this machine can reach")
	case len(l.AllowFrom) == 0:
		v.bad(path, "allows nobody", "want the prefixes of those who may use the listener")
	case l.open():
		v.warn(path, "everybody may use this listener", "better name the prefixes of clients, or ask for passwords or cookies")
	}
}

func invalid(a netip.AddrPort) bool { return !a.IsValid() }

// open reports whether a listener serves anybody who asks.
func (l *Listener) open() bool {
	all := slices.ContainsFunc(l.AllowFrom, func(p netip.Prefix) bool { return p.IsValid() && p.Bits() == 0 })
	switch {
	case !all || l.loopback():
		return false
	case l.SOCKS5 != nil:
		return len(l.SOCKS5.Users) == 0 && l.Subscribers != MembersRequired
	case l.Convert != nil:
		return l.Convert.Cookies == CookiesOff
	}
	return false
}

func (v *validator) listenerUpstream(path string, c *Config, l *Listener) {
	if c.upstream(l.Upstream) != nil || l.Upstream == DirectUpstream {
		return
	}
	known := []string{DirectUpstream}
	for _, u := range c.Upstreams {
		if u.Name != "" && u.Name != DirectUpstream {
			known = append(known, u.Name)
		}
	}
	v.bad(path, fmt.Sprintf("there is no upstream %q", l.Upstream), choose(l.Upstream, known))
}

func (v *validator) destinations(path string, l *Listener) {
	if l.Type == ListenForward && v.given(path) {
		v.bad(path, "a listener of type forward has one destination", "want no rules; see forward.target")
		return
	}
	if l.Destinations.Only && len(l.Destinations.Allow) == 0 {
		v.bad(join(path, "only"), "denies everything", "want rules in "+join(path, "allow"))
	}
}

func (v *validator) socks5Server(path string, s *SOCKS5Server) {
	if s.Bind {
		v.positive(join(path, "bind-timeout"), s.BindTimeout)
	}
	names := map[string]int{}
	for i, u := range s.Users {
		v.user(fmt.Sprintf("%s.users[%d]", path, i), u)
		if j, again := names[u.Name]; again && u.Name != "" {
			v.bad(fmt.Sprintf("%s.users[%d].name", path, i), fmt.Sprintf("%q is the name of users[%d] too", u.Name, j), "want each name once")
			continue
		}
		names[u.Name] = i
	}
}

const longestCredential = 255 // bytes: RFC 1929 section 2

func (v *validator) user(path string, u User) {
	switch {
	case u.Name == "":
		v.missing(join(path, "name"), "want the user's name")
	case len(u.Name) > longestCredential:
		v.bad(join(path, "name"), fmt.Sprintf("%d bytes long", len(u.Name)), "want at most 255, which is all that SOCKS5 can carry")
	case strings.Contains(u.Name, ";"):
		// What follows a ; are options that the client asks for.
		v.bad(join(path, "name"), quote(u.Name), "want a name without ;")
	}
	given := 0
	for _, p := range []string{u.Password, u.PasswordFile, u.PasswordHash} {
		if p != "" {
			given++
		}
	}
	switch given {
	case 0:
		v.bad(path, "no password", "want password-hash, password-file or password")
	case 1:
	default:
		v.bad(path, "more than one password", "want one of password-hash, password-file and password")
	}
	v.clearPassword(join(path, "password"), u.Password, "password-hash or password-file")
	if u.PasswordHash != "" {
		if _, err := password.Parse(u.PasswordHash); err != nil {
			wrong, expected, _ := strings.Cut(err.Error(), ": want ")
			v.bad(join(path, "password-hash"), wrong, "want "+expected)
		}
	}
}

func (v *validator) clearPassword(path, password, better string) {
	switch {
	case len(password) > longestCredential:
		v.bad(path, fmt.Sprintf("%d bytes long", len(password)), "want at most 255, which is all that SOCKS5 can carry")
	case password != "":
		v.warn(path, "whoever can read this file knows the password", "better use "+better)
	}
}

func (v *validator) convertServer(path string, l *Listener) {
	s := l.Convert
	ranged(v, join(path, "cookie-lifetime"), s.CookieLifetime, time.Minute, 365*24*time.Hour)
	if s.CookieKeyFile != "" && s.Cookies == CookiesOff {
		v.bad(join(path, "cookie-key-file"), "not used while cookies are off", "want cookies: required")
	}
	if s.Redundant && l.MPTCP == mptcp.ModeRequire {
		v.bad(join(path, "redundant"), "what is carried several times comes over plain TCP", "want mptcp: on")
	}
	if s.AllowLoopback && !l.loopback() {
		v.warn(join(path, "allow-loopback"), "clients may reach services that trust this machine", "better use it in tests only")
	}
}

func (v *validator) tproxy(path string, t *TProxy) {
	if len(t.Interfaces) == 0 && len(t.Sources) == 0 {
		v.missing(join(path, "interfaces"), "want the network interfaces that clients are behind, such as [lan0], or sources")
	}
	for i, name := range t.Interfaces {
		at := fmt.Sprintf("%s.interfaces[%d]", path, i)
		v.networkInterface(at, name)
		if name == "lo" {
			v.bad(at, "nothing is forwarded from lo", "want a listener of type redirect for the machine's own traffic")
		}
	}
	unique(v, join(path, "interfaces"), t.Interfaces)
	unique(v, join(path, "sources"), t.Sources)
	v.exclude(join(path, "exclude"), t.Exclude)
	ranged(v, join(path, "mark"), t.Mark, 1, math.MaxUint32)
	if t.Mark&^t.Mask != 0 {
		v.bad(join(path, "mark"), fmt.Sprintf("%#x has bits outside of mask %#x", t.Mark, t.Mask), fmt.Sprintf("want some of the bits of %#x", t.Mask))
	}
	ranged(v, join(path, "table"), t.Table, 1, math.MaxUint32)
	// include/uapi/linux/rtnetlink.h: RT_TABLE_DEFAULT, _MAIN and _LOCAL.
	if t.Table >= 253 && t.Table <= 255 {
		v.bad(join(path, "table"), fmt.Sprintf("%d is a table of the system", t.Table), "want one that nothing else uses")
	}
	// Rule 0 leads to the table of local addresses, rule 32766 to the main one.
	ranged(v, join(path, "priority"), t.Priority, 1, 32765)
}

func (v *validator) redirect(path string, l *Listener) {
	for i, a := range l.Listen {
		// Where the kernel redirects to: net/netfilter/nf_nat_redirect.c.
		if own := a.Addr().Unmap(); a.IsValid() && own != netip.AddrFrom4([4]byte{127, 0, 0, 1}) && own != netip.IPv6Loopback() {
			v.bad(fmt.Sprintf("%s.listen[%d]", path, i), own.String()+" is not where the kernel redirects to", "want 127.0.0.1 or ::1")
		}
	}
	path = join(path, "redirect.exclude")
	v.exclude(path, l.Redirect.Exclude)
	if len(l.Redirect.Exclude.MACs) > 0 {
		v.bad(join(path, "macs"), "the machine's own traffic has no link-layer address yet", "want it in listeners of type tproxy only")
	}
}

func (v *validator) exclude(path string, e Exclude) {
	unique(v, join(path, "destinations"), e.Destinations)
	unique(v, join(path, "dscp"), e.DSCP)
	unique(v, join(path, "macs"), e.MACs)
}
