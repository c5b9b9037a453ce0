// SPDX-License-Identifier: Apache-2.0

// Package reference has the relay that others are compared with.
package reference

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/tandem-gateway/tandem/bench/experiment"
)

// CopyChild is the name of a process that runs Copy. Its arguments are where it
// listens, its target, and whether the listener speaks MPTCP.
const CopyChild = "relay-copy"

// Children are the processes of this package.
var Children = map[string]experiment.Child{CopyChild: copyChild}

var errThreeArguments = errors.New("want listen address, target and whether to listen with MPTCP")

func copyChild(ctx context.Context, args []string) error {
	if len(args) != 3 {
		return errThreeArguments
	}
	listen, err := netip.ParseAddrPort(args[0])
	if err != nil {
		return err
	}
	target, err := netip.ParseAddrPort(args[1])
	if err != nil {
		return err
	}
	mptcp, err := strconv.ParseBool(args[2])
	if err != nil {
		return err
	}
	return Copy(ctx, Options{Listen: listen, Target: target, MPTCP: mptcp})
}

// Options of a relay.
type Options struct {
	Listen netip.AddrPort
	Target netip.AddrPort
	MPTCP  bool // the listener's
}

// errorPause is how long accepting rests after an error.
const errorPause = 10 * time.Millisecond

// Copy relays until ctx ends, in the way in which most Go programs do: a
// goroutine per direction calls io.Copy on two *net.TCPConn.
func Copy(ctx context.Context, o Options) error {
	var lc net.ListenConfig
	lc.SetMultipathTCP(o.MPTCP)
	l, err := lc.Listen(ctx, "tcp", o.Listen.String())
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { l.Close() })()
	var serving sync.WaitGroup
	defer serving.Wait()
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			time.Sleep(errorPause) // out of descriptors
			continue
		}
		serving.Go(func() { copyBoth(ctx, c.(*net.TCPConn), o.Target) })
	}
}

func copyBoth(ctx context.Context, client *net.TCPConn, target netip.AddrPort) {
	defer client.Close()
	var d net.Dialer
	d.SetMultipathTCP(false)
	c, err := d.DialContext(ctx, "tcp", target.String())
	if err != nil {
		return
	}
	server := c.(*net.TCPConn)
	defer server.Close()
	defer context.AfterFunc(ctx, func() { client.Close(); server.Close() })()
	var up sync.WaitGroup
	up.Go(func() { copyOne(server, client) })
	copyOne(client, server)
	up.Wait()
}

func copyOne(dst, src *net.TCPConn) {
	_, err := io.Copy(dst, src)
	if err == nil {
		err = dst.CloseWrite()
	}
	if err != nil {
		// One leg is gone, so that the other direction has nowhere to go.
		dst.Close()
		src.Close()
	}
}
