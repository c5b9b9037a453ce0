// SPDX-License-Identifier: Apache-2.0

package testbed

import (
	"fmt"
	"net/netip"
	"strings"
	"text/template"
)

// configs of both Tandems. Checks of the aggregator would be traffic on the
// links that are measured.
var configs = template.Must(template.New("").Parse(`
{{- define "converter"}}
    type: convert
    allow-from: [198.51.100.0/24, "2001:db8::/32"]
{{- end}}

{{- define "aggregator" -}}
log: {level: warn}
admin: {socket: "{{.Socket}}"}
drain-timeout: 0s
listeners:
  - name: forwarded
    listen: [{{.Forwarded.Listens}}]
    {{- template "converter"}}
  - name: transparent
    listen: [{{.Transparent.Listens}}]
    {{- template "converter"}}
  - name: redundant
    listen: [{{.Redundant.Listens}}]
    {{- template "converter"}}
    convert: {redundant: true}
{{- if .Steered}}
  - name: following
    listen: [{{.Following.Listens}}]
    {{- template "converter"}}
    options: {defaults: {scheduler: server}}
{{- end}}
{{- range .Asked}}
  - name: {{.Name}}
    listen: [{{.At.Listens}}]
    {{- template "converter"}}
    options: {accept: [convert]}
{{- end}}
  - name: phones
    type: socks5
    listen: [{{.SOCKS.Listens}}]
    allow-from: [198.51.100.0/24, "2001:db8::/32", 192.168.1.0/24]
{{end -}}

{{- define "front"}}
    type: forward
    mptcp: "off"
    allow-from: [127.0.0.0/8, 192.168.1.0/24]
    forward: {target: "{{.Server}}"}
{{- end}}
{{- define "hag"}}
    type: convert
    when-down: refuse
    health: {interval: 1h}
{{- end}}

{{- define "edge" -}}
log: {level: warn}
admin: {socket: "{{.Socket}}"}
drain-timeout: 0s
listeners:
  - name: forward
    listen: ["{{.ForwardEntry}}"]
    upstream: forwarded
    {{- template "front" .}}
  - name: redundant
    listen: ["{{.RedundantEntry}}"]
    upstream: redundant
    {{- template "front" .}}
{{- if .Steered}}
  - name: following
    listen: ["{{.FollowingEntry}}"]
    upstream: following
    {{- template "front" .}}
{{- end}}
{{- range .Asked}}
  - name: {{.Name}}
    listen: ["{{.Entry}}"]
    upstream: {{.Name}}
    {{- template "front" $}}
{{- end}}
  - name: intercepted
    listen: ["{{.Intercept}}"]
    upstream: transparent
{{- if .Behind}}
    type: tproxy
    tproxy: {interfaces: [lan], ports: [{{.Intercepted}}]}
{{- else}}
    type: redirect
    redirect: {ports: [{{.Intercepted}}]}
{{- end}}
upstreams:
  - name: forwarded
    servers: ["{{.Forwarded.To}}"]
    {{- template "hag"}}
  - name: transparent
    servers: ["{{.Transparent.To}}"]
    {{- template "hag"}}
  - name: redundant
    servers: ["{{.Redundant.To}}"]
    convert: {redundant: true, redundant-paths: [{{.Access}}]}
    {{- template "hag"}}
{{- if .Steered}}
  - name: following
    servers: ["{{.Following.To}}"]
    {{- template "hag"}}
{{- end}}
{{- range .Asked}}
  - name: {{.Name}}
    servers: ["{{.At.To}}"]
    ask: {options: {scheduler: "{{.Scheduler}}"}}
    {{- template "hag"}}
{{- end}}
{{end -}}
`))

// service of the aggregator.
type service struct {
	To      netip.AddrPort // where it is asked
	Listens string         // all addresses that it listens on
}

// asked is a scheduler that the edge asks for.
type asked struct {
	Name, Scheduler string
	At              service
	Entry           netip.AddrPort
}

// placement is what the templates are filled with.
type placement struct {
	Socket                                                  string
	Steered, Behind                                         bool
	Forwarded, Transparent, Redundant, Following, SOCKS     service
	ForwardEntry, RedundantEntry, FollowingEntry, Intercept netip.AddrPort
	Server                                                  netip.AddrPort
	Intercepted                                             int
	Access                                                  string
	Asked                                                   []asked
}

func (s site) service(port uint16) service {
	return service{s.aggregator(port), aggregatorListens(port)}
}

func (s site) config(name, socket string, spec Spec) (string, error) {
	var schedulers []asked
	for i, scheduler := range spec.Asked {
		n := uint16(i)
		schedulers = append(schedulers, asked{fmt.Sprintf("asked-%d", i), scheduler, s.service(portAsked + n), s.entry(entryAsked + n)})
	}
	var text strings.Builder
	err := configs.ExecuteTemplate(&text, name, placement{
		Socket: socket, Steered: spec.Steered, Asked: schedulers, Behind: s.behind(),
		Forwarded: s.service(portForwarded), Transparent: s.service(portTransparent),
		Redundant: s.service(portRedundant), Following: s.service(portFollowing), SOCKS: s.service(portSOCKS),
		ForwardEntry: s.entry(entryForward), RedundantEntry: s.entry(entryRedundant), FollowingEntry: s.entry(entryFollowing),
		Intercept: netip.AddrPortFrom(loopback, portIntercept), Server: server(portTCP),
		Intercepted: portIntercepted, Access: strings.Join(s.access, ", "),
	})
	return text.String(), err
}
