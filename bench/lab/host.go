// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Host is one network namespace.
type Host struct {
	lab  *Lab
	name string

	mu     sync.RWMutex // held for writing by close only
	closed bool
	ns     netns.NsHandle
	nl     *netlink.Handle
}

// hostSysctls makes a new host deterministic: no feature of TCP or MPTCP is
// switched off for hours after a failure that a test provoked on purpose,
// multihomed replies are not filtered, and IPv6 addresses are usable at once
// and outlive their link being down.
var hostSysctls = [...][2]string{
	{"net.mptcp.enabled", "1"},
	{"net.mptcp.blackhole_timeout", "0"},
	{"net.ipv4.tcp_fastopen", "3"},
	{"net.ipv4.tcp_fastopen_blackhole_timeout_sec", "0"},
	{"net.ipv4.conf.all.rp_filter", "0"},
	{"net.ipv4.conf.default.rp_filter", "0"},
	{"net.ipv6.conf.all.accept_dad", "0"},
	{"net.ipv6.conf.default.accept_dad", "0"},
	{"net.ipv6.conf.default.dad_transmits", "0"},
	{"net.ipv6.conf.default.router_solicitations", "0"},
	{"net.ipv6.conf.all.keep_addr_on_down", "1"},
	{"net.ipv6.conf.default.keep_addr_on_down", "1"},
}

// Host adds a host: a new namespace with lo up and the sysctls that tests need
// (MPTCP and TCP Fast Open on, blackhole detection, rp_filter and IPv6 DAD
// off). Sysctls that this kernel does not have are left out.
func (l *Lab) Host(name string) (*Host, error) {
	if !validName.MatchString(name) {
		return nil, fmt.Errorf("add host: name %q is not made of 1 to 24 lower-case letters and digits", name)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, fmt.Errorf("add host %q: %w", name, ErrClosed)
	}
	ns, err := createNamespace(l.id + "-" + name)
	if err != nil {
		return nil, fmt.Errorf("add host %q: %w", name, err)
	}
	h := &Host{lab: l, name: name, ns: ns}
	l.hosts = append(l.hosts, h)
	if err := h.setUp(); err != nil {
		return nil, fmt.Errorf("add host %q: %w", name, err)
	}
	return h, nil
}

func (h *Host) setUp() error {
	var err error
	if h.nl, err = netlink.NewHandleAt(h.ns, unix.NETLINK_ROUTE); err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	for _, s := range hostSysctls {
		err := h.Sysctl(s[0], s[1])
		if err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return h.setLink("lo", true)
}

// Name is the name given to [Lab.Host].
func (h *Host) Name() string { return h.name }

// Namespace is the name of the namespace, as `ip netns` shows it.
func (h *Host) Namespace() string { return h.lab.id + "-" + h.name }

// Do runs f on an OS thread of its own inside the namespace and waits for it.
// Sockets that f makes stay in the namespace and may be used anywhere;
// goroutines that f starts run outside of it. A panic or
// [testing.T.FailNow] in f goes on in the caller.
func (h *Host) Do(f func() error) error {
	return onThread(func() error {
		if err := h.enter(); err != nil {
			return err
		}
		return f()
	})
}

// enter moves the calling thread into the namespace.
func (h *Host) enter() error {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.closed {
		return fmt.Errorf("host %q: %w", h.name, ErrClosed)
	}
	if err := netns.Set(h.ns); err != nil {
		return fmt.Errorf("enter namespace of %q: %w", h.name, err)
	}
	return nil
}

// Sysctl sets a sysctl below net, which is per namespace: key with dots, or
// with slashes where a device name holds a dot.
func (h *Host) Sysctl(key, value string) error {
	if !strings.ContainsRune(key, '/') {
		key = strings.ReplaceAll(key, ".", "/")
	}
	if !strings.HasPrefix(key, "net/") {
		return fmt.Errorf("sysctl %s on %q: not below net", key, h.name)
	}
	return h.Do(func() error {
		return os.WriteFile(filepath.Join("/proc/sys", key), []byte(value), 0)
	})
}

// ManyConnections lets the host have tens of thousands of connections with itself,
// and begin as many within seconds.
func (h *Host) ManyConnections() error {
	for key, value := range map[string]string{
		"net.ipv4.tcp_congestion_control": "reno", // bbr distorts MPTCP on loopback
		"net.ipv4.ip_local_port_range":    "10000 65535",
		// Else the connections of some seconds use up all ports, and each
		// connect searches them in vain. The default, 2, reuses early on
		// 127.0.0.0/8 only.
		"net.ipv4.tcp_tw_reuse": "1",
	} {
		if err := h.Sysctl(key, value); err != nil {
			return fmt.Errorf("set %s to %q: %w", key, value, err)
		}
	}
	return nil
}

// Forwarding switches IPv4 and IPv6 forwarding on or off.
func (h *Host) Forwarding(on bool) error {
	value := "0"
	if on {
		value = "1"
	}
	for _, key := range []string{"net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"} {
		if err := h.Sysctl(key, value); err != nil {
			return err
		}
	}
	return nil
}

// output runs a command on the host and returns what it prints.
func (h *Host) output(name string, args ...string) ([]byte, error) {
	out, err := h.Command(context.Background(), name, args...).Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s on %q: %w", name, strings.Join(args, " "), h.name, err)
	}
	return out, nil
}

func (h *Host) close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	if h.nl != nil {
		h.nl.Close()
	}
	h.ns.Close()
	return removeNamespace(h.Namespace())
}
