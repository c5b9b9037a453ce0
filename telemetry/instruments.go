// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"cmp"
	"runtime"

	"go.opentelemetry.io/otel/attribute"

	"github.com/tandem-gateway/tandem/bpf"
	"github.com/tandem-gateway/tandem/proxy"
	"github.com/tandem-gateway/tandem/subscribers"
)

// Attributes are all that metrics have.
const (
	AttrListener  = attribute.Key("tandem.listener")
	AttrUpstream  = attribute.Key("tandem.upstream") // with the server, where there are several: hag/192.0.2.1:8803
	AttrReason    = attribute.Key("reason")
	AttrDirection = attribute.Key("network.io.direction")
	AttrOption    = attribute.Key("tandem.option")
	AttrPolicy    = attribute.Key("tandem.policy") // of subscribers, as configured
	AttrNetwork   = attribute.Key("tandem.access_network")
	AttrVersion   = attribute.Key("version")
	AttrGo        = attribute.Key("go.version")
)

type kind uint8

const (
	counter kind = iota // only grows
	level               // a sum that goes up and down
	gauge               // a value that cannot be added to others
)

// put notes a value with its attributes.
type put func(value float64, attributes ...attribute.KeyValue)

// instrument is one metric: what it is called, and where its value is found.
type instrument struct {
	name, unit, about string
	kind              kind
	read              func(s *Sample, put put)
}

// dialHistogram is the one metric that is not a plain number.
const (
	dialHistogram = "tandem.dial.duration"
	dialAbout     = "How long it took to reach servers, by the hop that led there."
)

var instruments = []instrument{
	{"tandem.connections", "{connection}", "Connections that were accepted.", counter, perListener(func(l *listenerStats) uint64 { return l.Accepted })},
	{"tandem.connections.active", "{connection}", "Connections that have not ended.", level, func(s *Sample, put put) {
		for name, l := range s.Proxy.Listeners {
			put(float64(l.Active), AttrListener.String(name))
		}
	}},
	{"tandem.connections.served", "{connection}", "Connections whose handshake succeeded and whose clients got what they asked for.", counter, perListener(func(l *listenerStats) uint64 { return l.Served })},
	{"tandem.connections.refused", "{connection}", "Connections that were refused or failed before they were served, by reason.", counter, func(s *Sample, put put) {
		for name, l := range s.Proxy.Listeners {
			byReason(put, l.Refused, AttrListener.String(name))
		}
	}},
	{"tandem.connections.mptcp", "{connection}", "Accepted connections that use MPTCP.", counter, perListener(func(l *listenerStats) uint64 { return l.MPTCP })},
	{"tandem.connections.tcp", "{connection}", "Accepted connections that are plain TCP, by reason.", counter, func(s *Sample, put put) {
		for name, l := range s.Proxy.Listeners {
			byReason(put, l.TCP, AttrListener.String(name))
		}
	}},
	{"tandem.io", "By", "Bytes delivered: transmit is to servers, receive is from them to clients.", counter, func(s *Sample, put put) {
		for name, l := range s.Proxy.Listeners {
			put(float64(l.Up), AttrListener.String(name), AttrDirection.String("transmit"))
			put(float64(l.Down), AttrListener.String(name), AttrDirection.String("receive"))
		}
	}},
	{"tandem.access_network.io", "By", "Bytes of payload that an access network has carried: transmit is from the side of clients, receive is to it.", counter, func(s *Sample, put put) {
		for name, n := range s.Proxy.Networks {
			put(float64(n.Up), AttrNetwork.String(name), AttrDirection.String("transmit"))
			put(float64(n.Down), AttrNetwork.String(name), AttrDirection.String("receive"))
		}
	}},
	{"tandem.dials", "{dial}", "Ways that led to a server, by hop.", counter, perHop(func(h *hopStats) uint64 { return h.Reached })},
	{"tandem.dials.failed", "{dial}", "Ways that did not lead to a server: because the hop (reason hop) or the server (server) could not be reached or refused.", counter, func(s *Sample, put put) {
		for name, h := range s.Proxy.Hops {
			put(float64(h.FailedHop), AttrUpstream.String(name), AttrReason.String("hop"))
			put(float64(h.FailedServer), AttrUpstream.String(name), AttrReason.String("server"))
		}
	}},
	{"tandem.dials.fallback", "{connection}", "Connections towards servers or hops that were to use MPTCP and do not, by reason.", counter, func(s *Sample, put put) {
		for name, h := range s.Proxy.Hops {
			byReason(put, h.Fallback, AttrUpstream.String(name))
		}
	}},
	{"tandem.dials.syn_data", "{connection}", "Connections towards hops that were opened with data in the SYN.", counter, perHop(func(h *hopStats) uint64 { return h.SYNData })},
	{"tandem.upstream.up", "{state}", "Whether a hop is up: 1, or 0 if it is not.", gauge, func(s *Sample, put put) {
		for _, hops := range s.Upstreams {
			for _, h := range hops {
				put(truth(h.Up), AttrUpstream.String(h.Name))
			}
		}
	}},
	{"tandem.upstream.check.duration", "s", "How long the last health check of a hop took.", gauge, func(s *Sample, put put) {
		for _, hops := range s.Upstreams {
			for _, h := range hops {
				put(h.Took.Seconds(), AttrUpstream.String(h.Name))
			}
		}
	}},
	{"tandem.resolver.lookups", "{lookup}", "Names that were looked up.", counter, single(func(s *Sample) uint64 { return s.Resolver.Lookups })},
	{"tandem.resolver.cached", "{lookup}", "Lookups that were answered from memory.", counter, single(func(s *Sample) uint64 { return s.Resolver.Cached })},
	{"tandem.resolver.failed", "{lookup}", "Lookups without a result, by reason.", counter, func(s *Sample, put put) {
		put(float64(s.Resolver.NoSuchHost), AttrReason.String("no_such_host"))
		put(float64(s.Resolver.Failed), AttrReason.String("no_answer"))
	}},
	{"tandem.subflows.opened", "{subflow}", "Subflows that were established, by why they were opened.", counter, causes(func(s *Sample) causeCounts { return s.Paths.Opened })},
	{"tandem.subflows.closed", "{subflow}", "Subflows that ended, by why.", counter, causes(func(s *Sample) causeCounts { return s.Paths.Closed })},
	{"tandem.subflows.failed", "{subflow}", "Subflows that could not be opened, by how.", counter, causes(func(s *Sample) causeCounts { return s.Paths.Failed })},
	{"tandem.subflows.healed", "{subflow}", "Subflows that restored one that was lost, by how that was.", counter, causes(func(s *Sample) causeCounts { return s.Paths.Healed })},
	{"tandem.subflows.held", "{subflow}", "Subflows that peers opened while a system call held the connection, so that their data was held back until it ended.", counter, joins(func(n *bpf.HeldJoins) uint64 { return n.Held })},
	{"tandem.subflows.given_up", "{subflow}", "Those of them that were given up because more came than can wait.", counter, joins(func(n *bpf.HeldJoins) uint64 { return n.GivenUp })},
	{"tandem.paths.connections", "{connection}", "Connections whose subflows Tandem manages.", level, managed(func(s *Sample) uint64 { return uint64(s.Paths.Adopted) })},
	{"tandem.paths.subflowless", "{connection}", "Those of them that have lost all their subflows and are kept.", level, managed(func(s *Sample) uint64 { return uint64(s.Paths.Subflowless) })},
	{"tandem.paths.expired", "{connection}", "Connections that were without subflows for too long.", counter, managed(func(s *Sample) uint64 { return s.Paths.Expired })},
	{"tandem.paths.events", "{event}", "Events of subflows that were heard.", counter, managed(func(s *Sample) uint64 { return s.Paths.Events })},
	{"tandem.paths.events.lost", "{event}", "Events of subflows that were lost.", counter, managed(func(s *Sample) uint64 { return s.Paths.LostEvents })},
	{"tandem.paths.repairs", "{repair}", "Times that the kernel was asked for all subflows, to make up for lost events.", counter, managed(func(s *Sample) uint64 { return s.Paths.Repairs })},
	{"tandem.paths.repaired", "{subflow}", "Subflows about which the kernel said something else.", counter, managed(func(s *Sample) uint64 { return s.Paths.Repaired })},
	{"tandem.options.asked", "{request}", "Options that clients asked for, by what became of it.", counter, func(s *Sample, put put) {
		for name, reasons := range s.Proxy.Options.All() {
			for why, n := range reasons {
				put(float64(n), AttrOption.String(name), AttrReason.String(why.String()))
			}
		}
	}},
	{"tandem.options.ignored", "{request}", "Requests in TCP options that were dropped: too many at once, or answers to what was never asked.", counter, single(func(s *Sample) uint64 { return s.OptionsIgnored })},
	{"tandem.subscribers", "{subscriber}", "Subscribers that have a session, by policy.", level, perPolicy(func(p *policyStats) uint64 { return uint64(p.Subscribers) })},
	{"tandem.subscribers.over_quota", "{subscriber}", "Those of them whose quota is used up.", level, perPolicy(func(p *policyStats) uint64 { return uint64(p.Over) })},
	{"tandem.subscribers.connections", "{connection}", "Connections of subscribers that have not ended, by policy.", level, perPolicy(func(p *policyStats) uint64 { return uint64(p.Connections) })},
	{"tandem.subscribers.io", "By", "Bytes of subscribers, by policy: transmit is from them, receive is to them.", counter, func(s *Sample, put put) {
		if s.Subscribers == nil {
			return
		}
		for name, p := range s.Subscribers.Policies {
			put(float64(p.Up), AttrPolicy.String(policyName(name)), AttrDirection.String("transmit"))
			put(float64(p.Down), AttrPolicy.String(policyName(name)), AttrDirection.String("receive"))
		}
	}},
	{"tandem.authentications", "{question}", "Questions who somebody is, by the answer of RADIUS (granted, rejected, away), or whether one was remembered (cached), or too many waited (busy).", counter, func(s *Sample, put put) {
		if s.Subscribers == nil {
			return
		}
		a := &s.Subscribers.Answers
		put(float64(a.Granted), AttrReason.String("granted"))
		put(float64(a.Rejected), AttrReason.String("rejected"))
		put(float64(a.Away), AttrReason.String("away"))
		put(float64(a.Busy), AttrReason.String("busy"))
		put(float64(a.Cached), AttrReason.String("cached"))
	}},
	{"tandem.accounting.sent", "{record}", "Accounting records that a RADIUS server has taken.", counter, members(func(s *Subscribers) uint64 { return s.Accounting.Written })},
	{"tandem.accounting.lost", "{record}", "Accounting records for which there was no room.", counter, members(func(s *Subscribers) uint64 { return s.Accounting.Dropped })},
	{"tandem.accounting.waiting", "{record}", "Accounting records that no server has taken yet.", level, members(func(s *Subscribers) uint64 { return uint64(s.Waiting) })},
	{"tandem.event_loops", "{loop}", "Event loops.", level, single(func(s *Sample) uint64 { return uint64(s.Proxy.Loops) })},
	{"tandem.event_loops.delay", "s", "How long the slowest event loop took to answer.", gauge, func(s *Sample, put put) { put(s.LoopDelay.Seconds()) }},
	{"tandem.accept.starving", "{state}", "1 while new connections wait for want of descriptors or memory.", gauge, func(s *Sample, put put) { put(truth(s.Proxy.Starving)) }},
	{"tandem.accept.pauses", "{pause}", "Times that an event loop stopped accepting for want of descriptors or memory.", counter, single(func(s *Sample) uint64 { return s.Proxy.Pauses })},
	{"tandem.files.open", "{file}", "Open descriptors.", level, single(func(s *Sample) uint64 { return s.OpenFiles })},
	{"tandem.files.limit", "{file}", "Descriptors that may be open.", level, single(func(s *Sample) uint64 { return s.FileLimit })},
	{"tandem.records.written", "{record}", "Records of connections that were written or sent.", counter, single(func(s *Sample) uint64 { return s.Records.Written })},
	{"tandem.records.lost", "{record}", "Records that were not, by reason: overload, error.", counter, losses(func(s *Sample) Losses { return s.Records })},
	{"tandem.traces.exported", "{trace}", "Traces that were sent.", counter, single(func(s *Sample) uint64 { return s.Traces.Written })},
	{"tandem.traces.lost", "{trace}", "Traces that were not, by reason: overload, error.", counter, losses(func(s *Sample) Losses { return s.Traces })},
	{"tandem.draining", "{state}", "1 once no new connections are accepted.", gauge, func(s *Sample, put put) { put(truth(s.Draining)) }},
	{"tandem.start.time", "s", "When the process started, in seconds since 1970.", gauge, func(s *Sample, put put) { put(float64(s.Started.UnixMilli()) / 1000) }},
	{"tandem.build.info", "{build}", "1, with the versions.", gauge, func(s *Sample, put put) {
		put(1, AttrVersion.String(s.Version), AttrGo.String(runtime.Version()))
	}},
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func single(value func(*Sample) uint64) func(*Sample, put) {
	return func(s *Sample, put put) { put(float64(value(s))) }
}

func perListener(value func(*listenerStats) uint64) func(*Sample, put) {
	return func(s *Sample, put put) {
		for name, l := range s.Proxy.Listeners {
			put(float64(value(l)), AttrListener.String(name))
		}
	}
}

func perHop(value func(*hopStats) uint64) func(*Sample, put) {
	return func(s *Sample, put put) {
		for name, h := range s.Proxy.Hops {
			put(float64(value(h)), AttrUpstream.String(name))
		}
	}
}

func byReason(put put, counts map[string]uint64, of attribute.KeyValue) {
	for reason, n := range counts {
		put(float64(n), of, AttrReason.String(reason))
	}
}

func managed(value func(*Sample) uint64) func(*Sample, put) {
	return func(s *Sample, put put) {
		if s.Paths != nil {
			put(float64(value(s)))
		}
	}
}

func joins(value func(*bpf.HeldJoins) uint64) func(*Sample, put) {
	return func(s *Sample, put put) {
		if s.HeldJoins != nil {
			put(float64(value(s.HeldJoins)))
		}
	}
}

type policyStats = subscribers.PolicyStats

// policyName is what the policy is called of those for whom none is named.
func policyName(name string) string { return cmp.Or(name, "default") }

func perPolicy(value func(*policyStats) uint64) func(*Sample, put) {
	return func(s *Sample, put put) {
		if s.Subscribers == nil {
			return
		}
		for name, p := range s.Subscribers.Policies {
			put(float64(value(&p)), AttrPolicy.String(policyName(name)))
		}
	}
}

func members(value func(*Subscribers) uint64) func(*Sample, put) {
	return func(s *Sample, put put) {
		if s.Subscribers != nil {
			put(float64(value(s.Subscribers)))
		}
	}
}

func causes(counts func(*Sample) causeCounts) func(*Sample, put) {
	return func(s *Sample, put put) {
		if s.Paths == nil {
			return
		}
		for cause, n := range counts(s) {
			put(float64(n), AttrReason.String(cause.String()))
		}
	}
}

func losses(of func(*Sample) Losses) func(*Sample, put) {
	return func(s *Sample, put put) {
		l := of(s)
		put(float64(l.Dropped), AttrReason.String("overload"))
		put(float64(l.Failed), AttrReason.String("error"))
	}
}

// dialBounds are those of proxy.DialBounds in seconds.
func dialBounds() []float64 {
	bounds := make([]float64, len(proxy.DialBounds))
	for i, b := range proxy.DialBounds {
		bounds[i] = b.Seconds()
	}
	return bounds
}
