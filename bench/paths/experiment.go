// SPDX-License-Identifier: Apache-2.0

// Package paths has experiments on Tandem's path managers in network
// namespaces: which subflows exist over time, how fast a lost one is replaced,
// what becomes of connections that lose all of theirs, and what following
// connections costs. They need root.
package paths

import (
	"time"

	"github.com/tandem-gateway/tandem/bench/experiment"
)

const twoPaths = `           wifi 20 Mbit/s
         .----------------.
 client <                  > aggregator ---- source
         '----------------'
           cell 20 Mbit/s`

const onePath = ` client ---- wifi 20 Mbit/s ---- aggregator ---- source`

// links says what those links are like that an experiment does not slow down.
const links = " Links have no delay and a queue of 60 ms; congestion control is the machine's default."

// What the thesis has published.
const (
	fig614    = "thesis, fig 6.14"
	fig71     = "thesis, fig 7.1"
	section73 = "thesis, §7.3"
)

// Experiments are those of this package, in the order in which they run.
var Experiments = []experiment.Experiment{
	{
		ID: "paths-subflows", Title: "Subflows over time",
		Question: "Does each path manager open exactly the subflows that it should, and delaying none for short connections?",
		Setup: "A download over each path manager: ndiffports, fullmesh over two links with one and two addresses of the aggregator and with IPv4 and IPv6, delaying. " +
			"Then 300 connections of 1 kB to 10 MB, even in the logarithm, under delaying by 1 MB." + links,
		Drawing: twoPaths,
		Published: []experiment.Published{
			{Source: section73, Value: "ndiffports, fullmesh and delaying (second subflow only after N bytes or T seconds) work as path managers in user space"},
		},
		Takes: 2 * time.Minute, Quick: 10 * time.Second,
		Run: subflowsOverTime,
	},
	{
		ID: "paths-refreshing", Title: "A reset subflow is replaced",
		Question: "How fast does another subflow take the place of one that a middlebox has reset, and is anything lost?",
		Setup:    "The only subflow of a download is reset by a box in front of the aggregator, every 2 s, 50 times; times are those of packets at the client." + links,
		Drawing:  onePath,
		Published: []experiment.Published{
			{Source: fig71, Value: "a new subflow at once after each RST"},
		},
		Takes: 105 * time.Second, Quick: 5 * time.Second,
		Run: refreshing,
	},
	{
		ID: "paths-expiry", Title: "Connections that have lost all their subflows",
		Question: "Does the inactivity timeout keep connections without subflows from using memory up?",
		Setup: "Connections are opened one after another, and each loses its subflow to a RST soon after: 20,000 with a timeout of 15 s, then 9,000 without one. " +
			"What the gateway holds is read twice a second.",
		Drawing: " client ---- wifi ---- gateway ---- source",
		Published: []experiment.Published{
			{Source: fig614, Value: "20,000 sessions in one hour, timeout 4 min on both sides: sessions and memory flat after 4 min, else growing"},
		},
		Takes: 4 * time.Minute, Quick: 6 * time.Second,
		Run: expiry,
	},
	{
		ID: "paths-cost", Title: "What following connections costs",
		Question: "How many new connections per second does it take to follow every connection with eBPF events?",
		Setup: "Tandem with events and without, each in a namespace of its own, in turns; 32 MPTCP connections at a time over loopback, each with 1 KB of request and answer. Congestion control is reno. " +
			"Before that, four without events: two that are alike, one while a process listens to the events of MPTCP in netlink, and one whose namespace has its path manager in user space as well.",
		Takes: 225 * time.Second, Quick: 2 * time.Second,
		Run: cost,
	},
	{
		ID: "paths-healing", Title: "A transfer while links go and come back",
		Question: "Does a transfer use a link again when it comes back, also with another address, and does it go on meanwhile?",
		Setup:    "A download over two links under fullmesh. Within ten minutes one of the links goes down 20 times, and comes back half of the times with another address." + links,
		Drawing:  twoPaths,
		Published: []experiment.Published{
			{Source: section73, Value: "subflows are created anew after their loss"},
		},
		Takes: 10*time.Minute + 10*time.Second, Quick: 7 * time.Second,
		Run: healing,
	},
	{
		ID: "paths-silent", Title: "A link goes silent",
		Question: "How well does a transfer go on when one of its two links carries nothing any more, while addresses and routes stay?",
		Setup: "A download over two links under fullmesh. One of them drops all packets for three seconds, eighteen times: half of them with Tandem's setting of " +
			"net.mptcp.stale_loss_cnt, which is 1, at both ends, half with the kernel's own, 4, in turns." + links,
		Drawing: twoPaths,
		Metrics: []experiment.Metric{
			{Name: metricCarried, Unit: "%", Better: experiment.Higher},
			{Name: metricWorst, Unit: "Mbit/s", Better: experiment.Higher},
		},
		Takes: 2 * time.Minute, Quick: 3 * time.Second,
		Run: silent,
	},
	{
		ID: "paths-handover", Title: "The address changes",
		Question: "How long does a transfer stand still when the only address of the client goes, and another one comes?",
		Setup:    "A download over one link. Its address is taken away ten times, and another one given three seconds later." + links,
		Drawing:  onePath,
		Takes:    80 * time.Second, Quick: 7 * time.Second,
		Run: handOver,
	},
}
