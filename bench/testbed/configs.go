// SPDX-License-Identifier: Apache-2.0

package testbed

import (
	"net/netip"
	"strings"
	"text/template"
)

// configs of both Tandems. Checks of the aggregator would be traffic on the
// links that are measured.
var configs = template.Must(template.New("").Parse(`
{{- define "aggregator" -}}
log: {level: warn}
admin: {socket: "{{.Socket}}"}
drain-timeout: 0s
listeners:
  - name: converter
    type: convert
    listen: [{{.ConverterListens}}]
    allow-from: [198.51.100.0/24, "2001:db8::/32"]
    convert: {redundant: true}
{{- if .EBPF}}
  - name: following
    type: convert
    listen: [{{.FollowingListens}}]
    allow-from: [198.51.100.0/24, "2001:db8::/32"]
    options: {defaults: {scheduler: server}}
{{- end}}
  - name: phones
    type: socks5
    listen: [{{.SOCKSListens}}]
    allow-from: [198.51.100.0/24, "2001:db8::/32", 192.168.1.0/24]
{{end -}}
{{- define "edge" -}}
log: {level: warn}
admin: {socket: "{{.Socket}}"}
drain-timeout: 0s
listeners:
  - {name: forward, type: forward, listen: ["{{.Forward}}"], mptcp: "off", upstream: hag, allow-from: [127.0.0.0/8, 192.168.1.0/24], forward: {target: "{{.Server}}"}}
  - {name: redundant, type: forward, listen: ["{{.Redundant}}"], mptcp: "off", upstream: legs, allow-from: [127.0.0.0/8, 192.168.1.0/24], forward: {target: "{{.Server}}"}}
{{- if .EBPF}}
  - {name: following, type: forward, listen: ["{{.FollowingEntry}}"], mptcp: "off", upstream: following, allow-from: [127.0.0.0/8, 192.168.1.0/24], forward: {target: "{{.Server}}"}}
{{- end}}
{{- if .Behind}}
  - {name: lan, type: tproxy, listen: ["{{.Intercept}}"], upstream: hag, tproxy: {interfaces: [lan], ports: [{{.Intercepted}}]}}
{{- else}}
  - {name: own, type: redirect, listen: ["{{.Intercept}}"], upstream: hag, redirect: {ports: [{{.Intercepted}}]}}
{{- end}}
upstreams:
  - {name: hag, type: convert, servers: ["{{.Converter}}"], when-down: refuse, health: {interval: 1h}}
{{- if .EBPF}}
  - {name: following, type: convert, servers: ["{{.Following}}"], when-down: refuse, health: {interval: 1h}}
{{- end}}
  - {name: legs, type: convert, servers: ["{{.Converter}}"], when-down: refuse, health: {interval: 1h}, convert: {redundant: true, redundant-paths: [{{.Access}}]}}
{{end -}}
`))

// placement is what the templates are filled with.
type placement struct {
	Socket                                           string
	EBPF, Behind                                     bool
	ConverterListens, FollowingListens, SOCKSListens string
	Converter, Following                             netip.AddrPort
	Forward, Redundant, FollowingEntry               netip.AddrPort
	Server, Intercept                                netip.AddrPort
	Intercepted                                      int
	Access                                           string
}

func (s site) config(name, socket string, ebpf bool) (string, error) {
	var text strings.Builder
	err := configs.ExecuteTemplate(&text, name, placement{
		Socket: socket, EBPF: ebpf, Behind: s.behind(),
		ConverterListens: aggregatorListens(portConverter), FollowingListens: aggregatorListens(portFollowing),
		SOCKSListens: aggregatorListens(portSOCKS),
		Converter:    s.aggregator(portConverter), Following: s.aggregator(portFollowing),
		Forward: s.entry(portForward), Redundant: s.entry(portRedundant), FollowingEntry: s.entry(portServer),
		Server: server(portTCP), Intercept: netip.AddrPortFrom(loopback, portIntercept),
		Intercepted: portIntercepted, Access: strings.Join(s.access, ", "),
	})
	return text.String(), err
}
