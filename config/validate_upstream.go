// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/netip"
	"time"
)

func (v *validator) upstream(path string, u *Upstream, names map[string]string) {
	v.name(join(path, "name"), u.Name, names)
	if u.Name == DirectUpstream && u.Type != UpstreamDirect && u.Type != "" {
		v.bad(join(path, "name"), fmt.Sprintf("%q is the upstream without servers", u.Name), "want another name, or type: direct")
	}
	v.socket(join(path, "socket"), u.Socket)
	v.paths(join(path, "paths"), &u.Paths)
	if u.Type == "" {
		v.missing(join(path, "type"), "want "+listOf(u.Type.values()))
		return
	}
	v.sections(path, u.Type.values(), string(u.Type), "upstreams")
	if u.Type == UpstreamDirect {
		for _, key := range []string{"servers", "when-down", "health", "ask"} {
			if at := join(path, key); v.given(at) {
				v.bad(at, "belongs to upstreams of type convert or socks5", "want it left out: direct goes to the servers themselves")
			}
		}
		v.direct(join(path, "direct"), u.Direct)
		return
	}
	v.servers(path, u)
	if u.WhenDown == "" {
		v.missing(join(path, "when-down"), "want direct, which keeps clients online, or refuse, which keeps their traffic from taking another way")
	}
	v.health(join(path, "health"), u.Health)
	if u.Type == UpstreamConvert {
		v.redundant(join(path, "convert"), u.Convert)
	}
	v.ask(join(path, "ask"), u)
	if u.Type == UpstreamSOCKS5 {
		v.socks5Client(join(path, "socks5"), u.SOCKS5)
	}
}

func (v *validator) direct(path string, d *Direct) {
	at := join(path, "pool")
	switch {
	case d.Source == SourcePool && len(d.Pool) == 0:
		v.missing(at, "want the addresses to choose from")
	case d.Source != SourcePool && len(d.Pool) > 0:
		v.bad(at, "not used with source: "+string(d.Source), "want source: pool")
	}
	unique(v, at, d.Pool)
	for i, a := range d.Pool {
		if a.IsValid() && (a.IsUnspecified() || a.IsMulticast() || a.Zone() != "") {
			v.bad(fmt.Sprintf("%s[%d]", at, i), a.String()+" cannot be a source address", "want a unicast address without a zone")
		}
	}
	at = join(path, "check-servers")
	if d.Source != SourceClient && len(d.CheckServers) > 0 {
		v.bad(at, "not used with source: "+string(d.Source), "want source: client")
	}
	for i, s := range d.CheckServers {
		v.connectable(fmt.Sprintf("%s[%d]", at, i), s)
	}
}

func (v *validator) servers(path string, u *Upstream) {
	path = join(path, "servers")
	if len(u.Servers) == 0 {
		v.missing(path, "want addresses and ports, best first, such as [192.0.2.1:8803]")
	}
	unique(v, path, u.Servers)
	for i, s := range u.Servers {
		v.connectable(fmt.Sprintf("%s[%d]", path, i), s)
	}
}

func (v *validator) connectable(path string, s netip.AddrPort) {
	if s.IsValid() && (s.Port() == 0 || s.Addr().IsUnspecified() || s.Addr().IsMulticast()) {
		v.bad(path, s.String()+" cannot be connected to", "want the address and port of a server")
	}
}

func (v *validator) health(path string, h *Health) {
	ranged(v, join(path, "interval"), h.Interval, 100*time.Millisecond, 24*time.Hour)
	v.positive(join(path, "timeout"), h.Timeout)
	if h.Timeout > h.Interval {
		v.bad(join(path, "timeout"), text(h.Timeout)+" is longer than interval", "want at most "+text(h.Interval))
	}
	ranged(v, join(path, "rise"), h.Rise, 1, 100)
	ranged(v, join(path, "fall"), h.Fall, 1, 100)
}

func (v *validator) socks5Client(path string, s *SOCKS5Client) {
	if len(s.User) > longestCredential {
		v.bad(join(path, "user"), fmt.Sprintf("%d bytes long", len(s.User)), "want at most 255, which is all that SOCKS5 can carry")
	}
	switch given := s.Password != "" || s.PasswordFile != ""; {
	case s.Password != "" && s.PasswordFile != "":
		v.bad(path, "more than one password", "want password-file or password")
	case given && s.User == "":
		v.missing(join(path, "user"), "want the user that the password is of")
	case !given && s.User != "":
		v.missing(join(path, "password-file"), "want the password of "+s.User)
	}
	v.clearPassword(join(path, "password"), s.Password, "password-file")
}
