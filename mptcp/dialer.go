// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// leastAttempt is what one of several addresses is given at least, as in
// package net.
const leastAttempt = 2 * time.Second

// Dialer connects for goroutines: health checks, administration, tests. Its
// zero value dials plain TCP.
//
// Unlike net.Dialer it never tries again as plain TCP what failed as MPTCP.
type Dialer struct {
	// ConnectOptions of each attempt. FastOpen has no effect: there is no
	// data yet.
	ConnectOptions
	// Timeout of the dial as a whole, names included; 0 is none but the
	// context's and the kernel's.
	Timeout time.Duration
	// Resolver of names; nil is net.DefaultResolver.
	Resolver *net.Resolver
}

// Conn is a connection and what it negotiated.
type Conn struct {
	*net.TCPConn
	// Status when the connection was made; see Status.Refresh.
	Status Status
}

// DialContext connects to address, host:port, over "tcp", "tcp4" or "tcp6".
// A host's addresses are tried one after the other. With ModeRequire a
// connection that did not negotiate MPTCP is reset, and the error wraps
// ErrNotNegotiated. Errors of the kernel are wrapped as errno.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (*Conn, error) {
	if d.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.Timeout)
		defer cancel()
	}
	addrs, err := d.resolve(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", address, err)
	}
	var failures []error
	for i, addr := range addrs {
		c, err := d.attempt(ctx, addr, len(addrs)-i)
		if err == nil {
			return c, nil
		}
		failures = append(failures, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, fmt.Errorf("dial %s: %w", address, errors.Join(failures...))
}

// resolve returns at least one address, or an error.
func (d *Dialer) resolve(ctx context.Context, network, address string) ([]netip.AddrPort, error) {
	kind, ok := map[string]string{"tcp": "ip", "tcp4": "ip4", "tcp6": "ip6"}[network]
	if !ok {
		return nil, net.UnknownNetworkError(network)
	}
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	r := d.Resolver
	if r == nil {
		r = net.DefaultResolver
	}
	port, err := r.LookupPort(ctx, network, service)
	if err != nil {
		return nil, err
	}
	ips, err := r.LookupNetIP(ctx, kind, host)
	if err != nil {
		return nil, err
	}
	addrs := make([]netip.AddrPort, len(ips))
	for i, ip := range ips {
		addrs[i] = netip.AddrPortFrom(ip.Unmap(), uint16(port))
	}
	return addrs, nil
}

// attempt connects to one address with its share of the time that is left for
// n of them.
func (d *Dialer) attempt(ctx context.Context, addr netip.AddrPort, n int) (*Conn, error) {
	if deadline, ok := ctx.Deadline(); ok && n > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, max(time.Until(deadline)/time.Duration(n), leastAttempt))
		defer cancel()
	}
	o := d.ConnectOptions
	o.FastOpen = false
	fd, _, err := StartConnect(addr, nil, o)
	if err != nil {
		return nil, err
	}
	c, err := finish(ctx, fd, &o)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", addr, err)
	}
	return c, nil
}

// finish waits until the connection of fd stands and takes fd over.
func finish(ctx context.Context, fd int, o *ConnectOptions) (*Conn, error) {
	f := os.NewFile(uintptr(fd), "")
	defer f.Close() // net.FileConn duplicates
	if err := await(ctx, f); err != nil {
		return nil, err
	}
	status, err := Dialed(fd, o.Mode)
	if err != nil {
		return nil, err
	}
	if o.Mode == ModeRequire && !status.MPTCP {
		ResetOnClose(fd)
		return nil, fmt.Errorf("%w: %s", ErrNotNegotiated, status.Reason)
	}
	restore, err := rememberOptions(fd)
	if err != nil {
		return nil, err
	}
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	if err := restore(fd); err != nil {
		c.Close()
		return nil, err
	}
	return &Conn{TCPConn: c.(*net.TCPConn), Status: status}, nil
}

// await blocks until the socket is connected, has failed, or ctx has ended.
func await(ctx context.Context, f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() {
		// Fails only on a closed file, which waits for nothing.
		_ = f.SetWriteDeadline(time.Unix(1, 0))
	})
	defer stop()
	var failure error
	err = raw.Write(func(fd uintptr) (done bool) {
		done, failure = connected(int(fd))
		return done
	})
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return err
	}
	return failure
}

// connected tells whether a connection has come to be or has failed.
func connected(fd int) (done bool, err error) {
	if err := ConnectError(fd); err != nil {
		return true, err
	}
	if _, err := RemoteAddr(fd); errors.Is(err, unix.ENOTCONN) {
		return false, nil
	}
	return true, nil
}
