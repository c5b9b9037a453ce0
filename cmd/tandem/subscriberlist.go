// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/config"
	"github.com/tandem-gateway/tandem/plural"
	"github.com/tandem-gateway/tandem/subscribers"
	"github.com/tandem-gateway/tandem/telemetry"
)

// defaultPolicy is what the policy is called of those for whom none is named, if
// it has no name of its own.
const defaultPolicy = "default"

// Subscribers implements admin.Gateway.
func (g operated) Subscribers() iter.Seq[*admin.Subscriber] {
	return func(yield func(*admin.Subscriber) bool) {
		now := time.Now()
		for _, s := range g.aaa.registry.Accounts() {
			one := describeSubscriber(&s, now)
			if !yield(&one) {
				return
			}
		}
	}
}

func describeSubscriber(s *subscribers.State, now time.Time) admin.Subscriber {
	d := admin.Subscriber{
		Name: s.Name, Policy: cmp.Or(s.Policy, defaultPolicy), Session: s.Session, Address: s.Address,
		Since: s.Since, Age: now.Sub(s.Since).Seconds(), Connections: s.Connections, Up: s.Up, Down: s.Down,
		RateUp: s.RateUp, RateDown: s.RateDown, Networks: describeNetworks(s.Networks),
	}
	if s.Quota.Bytes > 0 {
		d.Quota = &admin.QuotaState{Bytes: s.Quota.Bytes, Period: s.Quota.Period.String(), Used: s.Used, Over: s.Over}
	}
	return d
}

func describeNetworks(list []subscribers.Network) []admin.NetworkBytes {
	var described []admin.NetworkBytes
	for _, n := range list {
		described = append(described, admin.NetworkBytes{Name: n.Name, Up: n.Up, Down: n.Down})
	}
	return described
}

// subscriberCounters are nil where no listener has any. The caller holds g.mu.
func (g *gateway) subscriberCounters() *admin.SubscriberCounters {
	if !g.hasMembers() {
		return nil
	}
	s := g.aaa.registry.Stats()
	c := &admin.SubscriberCounters{
		Active: s.Accounts, Policies: map[string]int{},
		Granted: s.Granted, Rejected: s.Rejected, Away: s.Away, Busy: s.Busy, Cached: s.Cached,
	}
	for name, p := range g.aaa.registry.PerPolicy() {
		c.Over += p.Over
		if p.Subscribers > 0 {
			c.Policies[cmp.Or(name, defaultPolicy)] += p.Subscribers
		}
	}
	if a := g.aaa.accounting; a != nil {
		s := a.Stats()
		c.AccountingSent, c.AccountingWaiting, c.AccountingLost = s.Sent, s.Waiting, s.Dropped
	}
	return c
}

// hasMembers reports whether some listener has subscribers. The caller holds g.mu.
func (g *gateway) hasMembers() bool {
	return slices.ContainsFunc(g.current.config.Listeners, func(l config.Listener) bool { return l.Subscribers != config.MembersOff })
}

// subscriberSample is nil where no listener has any. The caller holds g.mu.
func (g *gateway) subscriberSample() *telemetry.Subscribers {
	if !g.hasMembers() {
		return nil
	}
	s := &telemetry.Subscribers{Policies: g.aaa.registry.PerPolicy(), Answers: g.aaa.registry.Stats()}
	if a := g.aaa.accounting; a != nil {
		n := a.Stats()
		s.Accounting, s.Waiting = telemetry.Losses{Written: n.Sent, Dropped: n.Dropped}, n.Waiting
	}
	return s
}

// printSubscriberCounters prints them for people.
func printSubscriberCounters(line func(name, value string), c *admin.SubscriberCounters) {
	if c == nil {
		return
	}
	text := plural.Digits(int64(c.Active)) + " active"
	if c.Over > 0 {
		text += ", " + plural.Digits(int64(c.Over)) + " over their quota"
	}
	line("subscribers", text)
	if c.Granted+c.Rejected+c.Away+c.Busy+c.Cached > 0 {
		line("RADIUS", fmt.Sprintf("%s granted, %s rejected, %s unanswered, %s not asked (too many waited), %s from memory",
			plural.Digits(c.Granted), plural.Digits(c.Rejected), plural.Digits(c.Away), plural.Digits(c.Busy), plural.Digits(c.Cached)))
	}
	if c.AccountingSent+c.AccountingLost > 0 || c.AccountingWaiting > 0 {
		line("accounting", fmt.Sprintf("%s records sent, %s waiting, %s lost",
			plural.Digits(c.AccountingSent), plural.Digits(int64(c.AccountingWaiting)), plural.Digits(c.AccountingLost)))
	}
}

func subscribersCommand() *cobra.Command {
	var filter admin.SubscriberFilter
	var order string
	var asJSON *bool
	c := operator(&cobra.Command{
		Use:   "subscribers",
		Short: "List the subscribers of the running tandem",
		Long: `Lists the subscribers that have a session: connections, or some a moment ago
(subscribers.linger). USED is what is used of the quota, RATE the limits in force
from (up) and to (down) the subscriber.`,
		Example: `  tandem subscribers --sort used --limit 10
  tandem subscribers --name ada --json`,
		Args: cobra.NoArgs,
	}, func(cmd *cobra.Command, c *admin.Client, _ []string) error {
		less, ok := subscriberOrders[order]
		if !ok {
			return fmt.Errorf("--sort %s: want %s", order, strings.Join(subscriberOrderNames, ", "))
		}
		if filter.Limit < 0 {
			return fmt.Errorf("--limit %d: want a number of subscribers", filter.Limit)
		}
		limit := filter.Limit
		if less != nil {
			filter.Limit = 0 // the last ones are wanted, not any
		}
		show := printSubscribers
		if *asJSON {
			show = printLines[admin.Subscriber]
		}
		return printList(cmd, show, less, limit, func(visit func(*admin.Subscriber) error) (bool, error) {
			return c.Subscribers(cmd.Context(), filter, visit)
		})
	})
	f := c.Flags()
	f.StringVar(&filter.Name, "name", "", "only the subscriber with this `name`")
	f.StringVar(&filter.Policy, "policy", "", "only those with this `policy`")
	f.BoolVar(&filter.Over, "over", false, "only those whose quota is used up")
	f.IntVar(&filter.Limit, "limit", 0, "at most this `number`, the largest with --sort; 0 is all")
	f.StringVar(&order, "sort", subscriberOrderNames[0], "`order`: "+strings.Join(subscriberOrderNames, ", ")+"; the largest last")
	asJSON = f.Bool("json", false, "print one JSON object per line and subscriber, as the interface has it")
	return c
}

var subscriberOrderNames = []string{"none", "name", "age", "connections", "up", "down", "bytes", "used"}

// subscriberOrders are those of the list; none is that in which they come.
var subscriberOrders = map[string]compare[admin.Subscriber]{
	"none":        nil,
	"name":        by(func(s *admin.Subscriber) string { return s.Name }),
	"age":         by(func(s *admin.Subscriber) float64 { return s.Age }),
	"connections": by(func(s *admin.Subscriber) int { return s.Connections }),
	"up":          by(func(s *admin.Subscriber) uint64 { return s.Up }),
	"down":        by(func(s *admin.Subscriber) uint64 { return s.Down }),
	"bytes":       by(func(s *admin.Subscriber) uint64 { return s.Up + s.Down }),
	"used":        by(usedShare),
}

// usedShare is the part of the quota that is used; those without one come first.
func usedShare(s *admin.Subscriber) float64 {
	if s.Quota == nil {
		return -1
	}
	return float64(s.Quota.Used) / float64(s.Quota.Bytes)
}

// printSubscribers prints subscribers for people.
func printSubscribers(w io.Writer, all walk[admin.Subscriber]) (more bool, err error) {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tPOLICY\tADDRESS\tAGE\tCONNECTIONS\tUP\tDOWN\tUSED\tRATE UP\tRATE DOWN\tACCESS NETWORKS")
	more, err = all(func(s *admin.Subscriber) error {
		_, err := fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\n", s.Name, s.Policy, s.Address, ageText(s.Age), s.Connections,
			bytesText(s.Up), bytesText(s.Down), quotaText(s.Quota), limitText(s.RateUp), limitText(s.RateDown), networksText(s.Networks))
		return err
	})
	if err != nil {
		return more, err
	}
	return more, t.Flush()
}

func quotaText(q *admin.QuotaState) string {
	if q == nil {
		return "-"
	}
	text := fmt.Sprintf("%s of %s/%s", bytesText(q.Used), bytesText(q.Bytes), q.Period)
	if q.Over {
		text += ", over"
	}
	return text
}

// limitText is a limit in bytes per second; 0 is none.
func limitText(n uint64) string {
	if n == 0 {
		return "-"
	}
	return bitsText(float64(n) * 8)
}

func networksText(list []admin.NetworkBytes) string {
	var parts []string
	for _, n := range list {
		parts = append(parts, fmt.Sprintf("%s %s up %s down", n.Name, bytesText(n.Up), bytesText(n.Down)))
	}
	return cmp.Or(strings.Join(parts, ", "), "-")
}
