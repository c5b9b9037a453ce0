// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/apps"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/converter"
	"github.com/tandem-gateway/tandem/converter/wire"
)

// bothServers serves SOCKS5 and Convert.
var bothServers = socksServer + strings.TrimPrefix(aggregator, "\nlisteners:\n")

// TestDeniedDestinations asks for what clients may not reach unless somebody
// has allowed it.
func TestDeniedDestinations(t *testing.T) {
	t.Parallel()
	tp := labtest.TwoPath(t, lab.TwoPathSpec{})
	tandem := runTandem(t, tp.Aggregator, bothServers)
	dialer := converter.NewDialer(converter.DialerConfig{AllowLoopback: true})
	for _, c := range []struct {
		name, target string
		convert      wire.ErrorCode
	}{
		{"private", "10.1.2.3:80", wire.NotAuthorized},
		{"shared", "100.64.1.2:80", wire.NotAuthorized},
		{"unique local", "[fd00::1]:80", wire.NotAuthorized},
		{"metadata", "169.254.169.254:80", wire.NotAuthorized},
		{"IPv4 within IPv6", "[::ffff:10.1.2.3]:80", wire.NotAuthorized},
		{"NAT64", "[64:ff9b::a01:203]:80", wire.NotAuthorized},
		{"loopback", "127.0.0.1:1080", wire.MalformedMessage},
		{"IPv6 loopback", "[::1]:1080", wire.MalformedMessage},
		{"itself", "192.0.2.1:1080", wire.NotAuthorized},
		{"itself over IPv6", "[2001:db8:a::1]:1080", wire.NotAuthorized},
		{"another address of its own", "203.0.113.1:80", wire.NotAuthorized},
	} {
		t.Run(c.name, func(t *testing.T) {
			target := netip.MustParseAddrPort(c.target)
			r := labtest.Curl(t, tp.Client, "--max-time", "10", "--proxy", "socks5://192.0.2.1:1080", "http://"+c.target)
			expectSOCKSCode(t, r, 2)
			_, _, err := converse(t, tp.Client, dialer, target, converter.Extras{})
			var answered *converter.Error
			if !errors.As(err, &answered) || answered.Code != c.convert {
				t.Errorf("the converter's answer: %v, want error %d", err, c.convert)
			}
		})
	}
	if n := countLogged(tandem, "refused", "reason=destination"); n == 0 {
		t.Error("no word of it in the log")
	}
}

// expectSOCKSCode expects a reply with a code of RFC 1928 section 6.
func expectSOCKSCode(t *testing.T, r apps.CurlResult, code byte) {
	t.Helper()
	const proxy = 97 // CURLE_PROXY
	if r.ExitCode != proxy || !strings.HasSuffix(r.Message, "("+string('0'+rune(code))+")") {
		t.Errorf("curl's exit code %d (%s), want SOCKS reply %d", r.ExitCode, r.Message, code)
	}
}

// TestSOCKSReplies shows stock clients why a server cannot be reached.
func TestSOCKSReplies(t *testing.T) {
	t.Parallel()
	tp := labtest.TwoPath(t, lab.TwoPathSpec{})
	runTandem(t, tp.Aggregator, socksServer)
	for _, c := range []struct {
		name, url string
		code      byte
	}{
		{"refused", "http://203.0.113.80:81", 5},
		{"refused over IPv6", "http://[2001:db8:c::80]:81", 5},
		{"network unreachable", "http://203.0.114.1", 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			expectSOCKSCode(t, labtest.Curl(t, tp.Client, "--max-time", "10", "--proxy", "socks5://192.0.2.1:1080", c.url), c.code)
		})
	}
}

// TestStrangers resets clients from outside of allow-from.
func TestStrangers(t *testing.T) {
	t.Parallel()
	tp := labtest.TwoPath(t, lab.TwoPathSpec{})
	tandem := runTandem(t, tp.Aggregator, bothServers)
	for _, address := range []string{"192.0.2.1:1080", "192.0.2.1:8803"} {
		var c net.Conn
		err := tp.Server.Do(func() (err error) {
			c, err = net.DialTimeout("tcp", address, 5*time.Second)
			return err
		})
		if err == nil {
			c.SetDeadline(time.Now().Add(30 * time.Second))
			_, err = c.Read(make([]byte, 1))
			c.Close()
		}
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: %v, want a reset", address, err)
		}
	}
	labtest.Await(t, patience, "both refusals in the log", func() bool {
		return countLogged(tandem, "refused", "reason=source", "client=203.0.113.80:") == 2
	})
}
