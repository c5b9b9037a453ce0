// SPDX-License-Identifier: Apache-2.0

package tproxy

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// RouteProtocol is the routing protocol number of our rules and routes, which
// ip shows as "proto 97". It tells them from those of others.
const RouteProtocol = 97

// routing delivers marked packets to this machine.
type routing struct {
	mark, mask, table, priority uint32
}

// chainFormat makes the name of the chain that stands for a routing.
const chainFormat = "deliver_mark_%#x_%#x_table_%d_priority_%d"

func (r routing) chain() string {
	return fmt.Sprintf(chainFormat, r.mark, r.mask, r.table, r.priority)
}

// parseChain is the inverse of routing.chain.
func parseChain(name string) (routing, bool) {
	var r routing
	_, err := fmt.Sscanf(name, strings.ReplaceAll(chainFormat, "%#x", "0x%x"), &r.mark, &r.mask, &r.table, &r.priority)
	return r, err == nil && r.chain() == name
}

// String is the routing rule in ip's syntax.
func (r routing) String() string {
	return fmt.Sprintf("fwmark %#x/%#x lookup %d priority %d", r.mark, r.mask, r.table, r.priority)
}

// router changes rules and routes of the namespace it was made in.
type router struct {
	nl *netlink.Handle
	lo int // index of the loopback interface
	v6 bool
}

// newRouter opens a router. Without IPv6, needV6 makes it an error.
func newRouter(needV6 bool) (*router, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("routing: %w", err)
	}
	lo, err := h.LinkByName("lo")
	if err != nil {
		h.Close()
		return nil, fmt.Errorf("routing: loopback interface: %w", err)
	}
	disabled, err := os.ReadFile("/proc/sys/net/ipv6/conf/lo/disable_ipv6")
	v6 := err == nil && strings.TrimSpace(string(disabled)) == "0"
	if needV6 && !v6 {
		h.Close()
		return nil, fmt.Errorf("IPv6 is %w or switched off: listen on IPv4 only, or run: sysctl -w net.ipv6.conf.lo.disable_ipv6=0", ErrUnsupported)
	}
	return &router{nl: h, lo: lo.Attrs().Index, v6: v6}, nil
}

func (r *router) close() { r.nl.Close() }

func (r *router) families() []int {
	if r.v6 {
		return []int{unix.AF_INET, unix.AF_INET6}
	}
	return []int{unix.AF_INET}
}

// ensure makes the rules and routes of a routing where they are missing.
func (r *router) ensure(w routing) error {
	for _, family := range r.families() {
		if err := r.ensureFamily(family, w); err != nil {
			return fmt.Errorf("%s routing: %w", familyName(family), err)
		}
	}
	return nil
}

func (r *router) ensureFamily(family int, w routing) error {
	routes, err := retry(func() ([]netlink.Route, error) {
		return r.nl.RouteListFiltered(family, &netlink.Route{Table: int(w.table)}, netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return fmt.Errorf("list routes: %w", err)
	}
	for _, o := range routes {
		if o.Protocol != RouteProtocol {
			return fmt.Errorf("table %d is %w for %v: choose another", w.table, ErrInUse, o.Dst)
		}
	}
	if len(routes) == 0 {
		if err := r.nl.RouteAdd(r.route(family, w)); err != nil && !errors.Is(err, unix.EEXIST) {
			return permission(fmt.Errorf("add local route to table %d: %w", w.table, err))
		}
	}
	rules, err := r.rules(family)
	if err != nil {
		return err
	}
	for _, o := range rules {
		if key(o) == w {
			return nil
		}
	}
	if err := r.nl.RuleAdd(ruleOf(family, w)); err != nil && !errors.Is(err, unix.EEXIST) {
		return permission(fmt.Errorf("add rule %s: %w", w, err))
	}
	return nil
}

// prune removes our rules, and the routes they lead to, save those to keep.
func (r *router) prune(keep map[routing]bool) error {
	tables := map[uint32]bool{}
	for k := range keep {
		tables[k.table] = true
	}
	var errs []error
	for _, family := range r.families() {
		rules, err := r.rules(family)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, o := range rules {
			k := key(o)
			if keep[k] {
				continue
			}
			if err := r.nl.RuleDel(ruleOf(family, k)); err != nil && !errors.Is(err, unix.ENOENT) {
				errs = append(errs, fmt.Errorf("delete %s rule %s: %w", familyName(family), k, err))
				continue
			}
			if tables[k.table] {
				continue
			}
			if err := r.nl.RouteDel(r.route(family, k)); err != nil && !errors.Is(err, unix.ESRCH) {
				errs = append(errs, fmt.Errorf("delete %s route of table %d: %w", familyName(family), k.table, err))
			}
		}
	}
	return errors.Join(errs...)
}

// rules lists the rules that carry our protocol number.
func (r *router) rules(family int) ([]netlink.Rule, error) {
	all, err := retry(func() ([]netlink.Rule, error) { return r.nl.RuleList(family) })
	if err != nil {
		return nil, fmt.Errorf("list %s rules: %w", familyName(family), err)
	}
	var ours []netlink.Rule
	for _, o := range all {
		if o.Protocol == RouteProtocol && o.Mask != nil {
			ours = append(ours, o)
		}
	}
	return ours, nil
}

// retry repeats a listing that a change by others has interrupted.
func retry[T any](list func() ([]T, error)) ([]T, error) {
	const attempts = 10
	var err error
	for range attempts {
		var all []T
		if all, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			return all, err
		}
	}
	return nil, err
}

func key(o netlink.Rule) routing {
	return routing{mark: o.Mark, mask: *o.Mask, table: uint32(o.Table), priority: uint32(o.Priority)}
}

// ruleOf is the rule of a routing for a family.
func ruleOf(family int, w routing) *netlink.Rule {
	rule := netlink.NewRule()
	rule.Family, rule.Protocol = family, RouteProtocol
	rule.Mark, rule.Mask = w.mark, &w.mask
	rule.Table, rule.Priority = int(w.table), int(w.priority)
	return rule
}

// route is the local default route of a routing for a family.
func (r *router) route(family int, w routing) *netlink.Route {
	everything := &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}
	if family == unix.AF_INET6 {
		everything = &net.IPNet{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}
	}
	return &netlink.Route{
		Family: family, Dst: everything, LinkIndex: r.lo, Table: int(w.table),
		Type: unix.RTN_LOCAL, Scope: netlink.SCOPE_HOST, Protocol: RouteProtocol,
	}
}

func familyName(family int) string {
	if family == unix.AF_INET6 {
		return "IPv6"
	}
	return "IPv4"
}

// permission turns a refusal by the kernel into ErrPermission.
func permission(err error) error {
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("%w (%w)", ErrPermission, err)
	}
	return err
}
