// SPDX-License-Identifier: Apache-2.0

package config

import (
	"cmp"
	"fmt"
	"math"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// validator looks for mistakes in a configuration that was decoded, which may
// lack what could not be.
type validator struct {
	file     string
	places   map[string]place
	known    []string // paths that something is wrong with already
	problems []Problem
	warnings []Problem
}

// bad notes a mistake, unless it follows from one that is known.
func (v *validator) bad(path, wrong, expected string) {
	for _, p := range v.known {
		if within(p, path) || within(path, p) {
			return
		}
	}
	v.problems = append(v.problems, v.problem(path, wrong, expected))
}

func (v *validator) warn(path, wrong, expected string) {
	v.warnings = append(v.warnings, v.problem(path, wrong, expected))
}

// problem finds the place of a path: its own, or that of the section which it
// is missing from.
func (v *validator) problem(path, wrong, expected string) Problem {
	at := place{1, 1}
	for p := path; ; p = parent(p) {
		if found, ok := v.places[p]; ok {
			at = found
			break
		}
		if p == "" {
			break
		}
	}
	return Problem{v.file, at.line, at.column, path, wrong, expected}
}

func (v *validator) given(path string) bool {
	_, ok := v.places[path]
	return ok
}

// parent is the path of the section or list that a path is in.
func parent(path string) string {
	return path[:max(strings.LastIndexAny(path, ".["), 0)]
}

// within reports whether a path is that of a section, or of something in it.
func within(section, path string) bool {
	rest, ok := strings.CutPrefix(path, section)
	return ok && section != "" && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

func (v *validator) missing(path, expected string) { v.bad(path, "missing", expected) }

// ranged checks that a number is from least to most.
func ranged[T cmp.Ordered](v *validator, path string, value, least, most T) {
	if value < least || value > most {
		v.bad(path, text(value)+" is out of range", "want "+text(least)+" to "+text(most))
	}
}

// text is a value as one would write it: 2h, not 2h0m0s.
func text(value any) string {
	s := fmt.Sprint(value)
	switch v := value.(type) {
	case float64:
		s = strconv.FormatFloat(v, 'f', -1, 64)
	case time.Duration:
		if rest, whole := strings.CutSuffix(s, "m0s"); whole {
			s = rest + "m"
		}
		if rest, whole := strings.CutSuffix(s, "h0m"); whole {
			s = rest + "h"
		}
	}
	return s
}

// count checks a number that may be anything but negative.
func (v *validator) count(path string, value int) { ranged(v, path, value, 0, math.MaxInt32) }

// positive checks a duration that must not be 0.
func (v *validator) positive(path string, value time.Duration) {
	if value <= 0 {
		v.bad(path, text(value)+" leaves no time", "want more than 0s")
	}
}

var (
	nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
	// dev_valid_name in net/core/dev.c; the other signs have a meaning in
	// firewall rules and addresses.
	interfaceForm = regexp.MustCompile(`^[^\s/:%*"]{1,15}$`)
	algorithmForm = regexp.MustCompile(`^[a-z0-9_-]{1,15}$`)
)

// name checks the name of a listener or an upstream, which others must not
// have.
func (v *validator) name(path, name string, others map[string]string) {
	switch {
	case name == "":
		v.missing(path, "want a name of letters, digits, dots and hyphens")
	case !nameForm.MatchString(name):
		v.bad(path, quote(name), "want a name of up to 63 letters, digits, dots and hyphens")
	case others[name] != "":
		v.bad(path, fmt.Sprintf("%q is the name of %s too", name, others[name]), "want another name")
	default:
		others[name] = parent(path)
	}
}

func (v *validator) networkInterface(path, name string) {
	if !interfaceForm.MatchString(name) || name == "." || name == ".." {
		v.bad(path, quote(name), "want the name of a network interface, of up to 15 characters")
	}
}

// config checks everything.
func (v *validator) config(c *Config) {
	ranged(v, "workers", c.Workers, 0, 1024)
	v.rights(&c.Rights)
	v.admin(&c.Admin)
	v.telemetry(c.Telemetry)
	v.records(c.Records)
	v.subscribers(c)
	v.accessNetworks(c.AccessNetworks)
	v.limits(c.Limits)
	v.timeouts("timeouts", c.Timeouts)
	v.positive("resolver.timeout", c.Resolver.Timeout)
	for i, s := range c.Resolver.Servers {
		if a := s.Addr(); a.IsValid() && (a.IsUnspecified() || a.IsMulticast()) {
			v.bad(fmt.Sprintf("resolver.servers[%d]", i), a.String()+" is no server's address", "want the address of a name server")
		}
	}
	if len(c.Listeners) == 0 {
		v.missing("listeners", "want at least one")
	}
	names := map[string]string{}
	for i := range c.Listeners {
		v.listener(fmt.Sprintf("listeners[%d]", i), c, &c.Listeners[i], names)
	}
	v.clashes(c.Listeners)
	v.interceptors(c.Listeners)
	names = map[string]string{}
	for i := range c.Upstreams {
		path := fmt.Sprintf("upstreams[%d]", i)
		if v.given(path) {
			v.upstream(path, &c.Upstreams[i], names)
		}
	}
	v.marks(c)
	v.loops(c)
	v.unused(c)
}

// admin checks what can be known of the socket without making it.
func (v *validator) admin(a *Admin) {
	v.adminTCP(a)
	// struct sockaddr_un: with the zero at its end, and room for the name under
	// which the socket is made before it gets its own.
	const longest = 100
	switch {
	case a.Socket == "":
		if a.Group != "" {
			v.bad("admin.group", quote(a.Group)+" without a socket", "want admin.socket too")
		}
	case strings.ContainsRune(a.Socket, 0):
		v.bad("admin.socket", quote(a.Socket), "want the path of a unix socket")
	case !filepath.IsAbs(a.Socket) || strings.HasSuffix(a.Socket, "/"):
		v.bad("admin.socket", quote(a.Socket), "want the whole path of a unix socket, such as "+AdminSocket)
	case len(a.Socket) > longest:
		v.bad("admin.socket", fmt.Sprintf("a path of %d bytes", len(a.Socket)), fmt.Sprintf("want at most %d", longest))
	}
}

func (v *validator) limits(l Limits) {
	v.count("limits.connections", l.Connections)
	ranged(v, "limits.sources", l.Sources, 1, math.MaxInt32)
	s := l.PerSource
	v.count("limits.per-source.connections", s.Connections)
	v.count("limits.per-source.pending", s.Pending)
	ranged(v, "limits.per-source.ipv4-prefix", s.IPv4Prefix, 1, 32)
	ranged(v, "limits.per-source.ipv6-prefix", s.IPv6Prefix, 1, 128)
	v.newConnections("limits.per-source", s.NewPerSecond, s.Burst)
}

// newConnections checks the new connections of a section, per second in the long
// run and at once after a pause.
func (v *validator) newConnections(path string, perSecond float64, burst int) {
	v.count(join(path, "burst"), burst)
	if perSecond != 0 {
		ranged(v, join(path, "new-per-second"), perSecond, 0.001, 1e6)
	}
	const day = 24 * 60 * 60
	switch {
	case perSecond == 0 && burst > 0:
		v.bad(join(path, "burst"), fmt.Sprintf("%d without new-per-second", burst), "want "+join(path, "new-per-second")+" too")
	case perSecond > 0 && float64(burst) > perSecond*day:
		v.bad(join(path, "burst"), fmt.Sprintf("%d takes more than a day to refill", burst), fmt.Sprintf("want at most %d at this rate", int(perSecond*day)))
	}
}

func (v *validator) timeouts(path string, t Timeouts) {
	v.positive(join(path, "handshake"), t.Handshake)
	v.positive(join(path, "connect"), t.Connect)
	if t.FirstData > t.Connect && t.Connect > 0 {
		v.bad(join(path, "first-data"), text(t.FirstData)+" is longer than connect", "want at most "+text(t.Connect))
	}
}

func (v *validator) socket(path string, s Socket) {
	if s.Device != "" {
		v.networkInterface(join(path, "device"), s.Device)
	}
	if cc := s.CongestionControl; cc != "" && !algorithmForm.MatchString(cc) {
		v.bad(join(path, "congestion-control"), quote(cc), "want a name from net.ipv4.tcp_available_congestion_control, such as cubic")
	}
	if s.KeepAlive.Idle == 0 {
		return
	}
	// The kernel's bounds, net/ipv4/tcp.c.
	const least, most = time.Second, 32767 * time.Second
	path = join(path, "keep-alive")
	ranged(v, join(path, "idle"), s.KeepAlive.Idle, least, most)
	ranged(v, join(path, "interval"), s.KeepAlive.Interval, least, most)
	ranged(v, join(path, "count"), s.KeepAlive.Count, 1, 127)
}

// unique checks that nothing is in a list twice.
func unique[T comparable](v *validator, path string, list []T) {
	first := map[T]int{}
	var zero T
	for i, item := range list {
		if j, again := first[item]; again && item != zero {
			v.bad(fmt.Sprintf("%s[%d]", path, i), fmt.Sprintf("%v is %s[%d] too", item, path, j), "want it once")
			continue
		}
		first[item] = i
	}
}
