// SPDX-License-Identifier: Apache-2.0

// Package applications measures what applications feel on each way to a server:
// voice assistants, web pages, typing over SSH, thin streams, requests under
// load, transfers, idle tunnels. Ways are plain TCP over each link alone, plain
// MPTCP, Tandem in each of its modes, and other relays (package testbed).
package applications

import (
	"time"

	"github.com/tandem-gateway/tandem/bench/experiment"
)

const (
	phoneDrawing = `                 wifi 40 Mbit/s, 8 ± 3 ms, 0.2 % loss in bursts of 4
         .-----------------------------------------------.
 phone <                                                   > aggregator ---- server
         '-----------------------------------------------'
          cellular 10 up, 30 down Mbit/s, 25 ± 5 ms`
	twoPathDrawing = `                 wifi 20 Mbit/s, 20 ms
          .-------------------------.
 client <                             > aggregator ---- server
          '-------------------------'
                 cell 20 Mbit/s, 20 ms`
	homeDrawing = `               DSL 5 up, 20 down Mbit/s, 10 ms
                  .-------------------------.
 client ---- CPE <                            > aggregator ---- server
                  '-------------------------'
               LTE 5 up, 20 down Mbit/s, 25 ± 5 ms`

	common = " Congestion control is reno on all hosts. Delays are one-way. Links are emulated."
)

const (
	voiceLoad = "Requests as of a voice assistant: 9 bursts of 10 segments of 50 to 500 bytes, one every 300 ms, then an answer of 750 bytes; with intermediate answers of 100 bytes to every other burst and without. " +
		"Latency is from the last burst sent to the first byte of the answer. All ways are measured at the same time, eight requests each in a round."
	voiceFinding = "MPTCP is better than TCP, above all in the tail; its scheduler `server` is better for mobile nodes"
)

// What the thesis has published.
const (
	fig44 = "thesis, fig 4.4"
	fig46 = "thesis, fig 4.6"
	fig57 = "thesis, fig 5.7"
)

func latencyMetrics() []experiment.Metric {
	return []experiment.Metric{
		{Name: "p50", Unit: "ms", Better: experiment.Lower},
		{Name: "p95", Unit: "ms", Better: experiment.Lower},
		{Name: "max", Unit: "ms", Better: experiment.Lower},
	}
}

// Experiments in the order in which they run.
var Experiments = []experiment.Experiment{
	{
		ID: "apps-voice", Title: "A voice assistant on two good links",
		Question: "How long does a voice assistant wait for its answer?",
		Setup:    voiceLoad + common, Drawing: phoneDrawing,
		Published: []experiment.Published{{Source: fig44, Value: voiceFinding}},
		Metrics:   latencyMetrics(),
		Takes:     70 * time.Second, Quick: 5 * time.Second,
		Run: voiceSteady,
	},
	{
		ID: "apps-voice-lost", Title: "A voice assistant whose Wi-Fi goes silent",
		Question: "What if the Wi-Fi stops carrying packets in mid-request, and nobody is told?",
		Setup:    voiceLoad + " Half-way through, the Wi-Fi begins to lose everything, for 4 s." + common, Drawing: phoneDrawing,
		Published: []experiment.Published{{Source: fig46, Value: voiceFinding}},
		Metrics:   latencyMetrics(),
		Takes:     90 * time.Second, Quick: 6 * time.Second,
		Run: voiceLost,
	},
	{
		ID: "apps-voice-handover", Title: "A voice assistant that leaves the Wi-Fi",
		Question: "What if the Wi-Fi goes down in mid-request, and the phone sees that?",
		Setup:    voiceLoad + " Half-way through, the Wi-Fi goes down, for 4 s." + common, Drawing: phoneDrawing,
		Published: []experiment.Published{{Source: fig46, Value: voiceFinding}},
		Metrics:   latencyMetrics(),
		Takes:     90 * time.Second, Quick: 6 * time.Second,
		Run: voiceHandOver,
	},
	{
		ID: "apps-typing", Title: "Typing over SSH while the Wi-Fi comes and goes",
		Question: "How long do keys take to be echoed, and how long does the shell stand still?",
		Setup: "A user types, a key every 180 ms on average, each a packet of 36 bytes, echoed as one; lines end in 200 to 4000 bytes of output. " +
			"Latency is from when a key was due to its echo. In the second third of a round the Wi-Fi loses everything; in every other round it goes down instead. All ways are measured at the same time." + common,
		Drawing: phoneDrawing,
		Metrics: latencyMetrics(),
		Takes:   90 * time.Second, Quick: 4 * time.Second,
		Run: typing,
	},
	{
		ID: "apps-thin", Title: "Thin streams over a Wi-Fi that loses packets",
		Question: "How late are the messages of games, telemetry and calls?",
		Setup:    "Messages of 100 bytes every 30 ms, up and then down. Latency is one-way, from when a message was due to its arrival. All ways are measured at the same time." + common,
		Drawing:  phoneDrawing,
		Metrics:  latencyMetrics(),
		Takes:    80 * time.Second, Quick: 4 * time.Second,
		Run: thin,
	},
	{
		ID: "apps-pages", Title: "Web pages at home",
		Question: "How much sooner is a page with many objects there?",
		Setup: "Generated pages of about 60 objects and 1.5 MB, which name each other: style sheets and scripts in the head of the document, fonts in style sheets, more scripts and images in scripts. " +
			"A browser with six connections, all of them new for each page. Each round loads the same pages on all ways in turns." + common,
		Drawing: homeDrawing,
		Published: []experiment.Published{
			{Source: fig57, Value: "70 % of pages faster (there by a larger initial window on one path)"},
		},
		Metrics: []experiment.Metric{{Name: "load time", Unit: "ms", Better: experiment.Lower}},
		Takes:   2 * time.Minute, Quick: 8 * time.Second,
		Run: pages,
	},
	{
		ID: "apps-requests", Title: "Requests and responses under load",
		Question: "What do requests take as the load grows beyond what one link carries?",
		Setup: "Open loop: requests of 300 bytes for answers of 2 to 18 kB arrive at times of a Poisson process, each on a new connection, at 0.5, 0.9 and 1.4 times the rate that fills one link. " +
			"Latency is from when a request was due to the last byte of its answer, handshakes included. Ways take turns." + common,
		Drawing: twoPathDrawing,
		Metrics: []experiment.Metric{
			{Name: "p50 at 0.5", Unit: "ms", Better: experiment.Lower}, {Name: "p99 at 0.5", Unit: "ms", Better: experiment.Lower},
			{Name: "p50 at 0.9", Unit: "ms", Better: experiment.Lower}, {Name: "p99 at 0.9", Unit: "ms", Better: experiment.Lower},
			{Name: "p50 at 1.4", Unit: "ms", Better: experiment.Lower}, {Name: "p99 at 1.4", Unit: "ms", Better: experiment.Lower},
		},
		Takes: 7 * time.Minute, Quick: 6 * time.Second,
		Run: requests,
	},
	{
		ID: "apps-bulk", Title: "Transfers over two links",
		Question: "How much of the sum of two links does one connection get?",
		Setup:    "A download of 10 MB and an upload of 10 MB on each way, in turns." + common,
		Drawing:  twoPathDrawing,
		Metrics:  bulkMetrics(),
		Takes:    6 * time.Minute, Quick: 5 * time.Second,
		Run: bulkTwoPath,
	},
	{
		ID: "apps-bulk-home", Title: "Transfers from a home with two links",
		Question: "How much of the sum of both accesses does one connection of a device at home get?",
		Setup:    "A download of 10 MB and an upload of 2.5 MB on each way, in turns. The device has one address only: without Tandem at the CPE it has one link." + common,
		Drawing:  homeDrawing,
		Metrics:  bulkMetrics(),
		Takes:    4 * time.Minute, Quick: 5 * time.Second,
		Run: bulkHome,
	},
	{
		ID: "apps-tunnels", Title: "Idle tunnels",
		Question: "What does a tunnel cost that does nothing, and how fast is it back?",
		Setup: "2000 tunnels through a way, each with an exchange of 1 kB, then idle for 5 s, then another exchange. Memory and CPU time are those of the relay at the aggregator, above what it had without. " +
			"Ways follow each other." + common,
		Drawing: twoPathDrawing,
		Metrics: []experiment.Metric{
			{Name: "memory", Unit: "kB per tunnel", Better: experiment.Lower},
			{Name: "descriptors", Unit: "per tunnel", Better: experiment.Lower},
			{Name: "idle CPU", Unit: "ms/s", Better: experiment.Lower},
			{Name: "wake-up p99", Unit: "ms", Better: experiment.Lower},
			{Name: "failed", Better: experiment.Lower},
		},
		Takes: 2 * time.Minute, Quick: 6 * time.Second,
		Run: tunnels,
	},
}

func bulkMetrics() []experiment.Metric {
	return []experiment.Metric{
		{Name: "down", Unit: "Mbit/s", Better: experiment.Higher},
		{Name: "up", Unit: "Mbit/s", Better: experiment.Higher},
	}
}
