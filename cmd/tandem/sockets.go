// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/tandem-gateway/tandem/config"
	"github.com/tandem-gateway/tandem/mptcp"
)

// socketOptions turns the configured options of sockets into those that are
// set, with Tandem's own mark on sockets that have none.
func socketOptions(c *config.Socket, ownMark uint32) mptcp.SocketOptions {
	o := mptcp.SocketOptions{
		Mark:          c.Mark,
		Device:        c.Device,
		NoDelay:       c.NoDelay,
		Congestion:    c.CongestionControl,
		NotSentLowat:  int(c.NotSentLowWater),
		SendBuffer:    int(c.SendBuffer),
		ReceiveBuffer: int(c.ReceiveBuffer),
	}
	if o.Mark == 0 {
		o.Mark = ownMark
	}
	if c.KeepAlive.Idle > 0 {
		o.KeepAlive = mptcp.KeepAlive{Idle: c.KeepAlive.Idle, Interval: c.KeepAlive.Interval, Count: c.KeepAlive.Count}
	}
	return o
}
