// SPDX-License-Identifier: Apache-2.0

package main

const picture = `
                          DSL 20 Mbit/s
  LAN client ──── CPE ═══════════════════ aggregator ──── web server
             TCP      ═══════════════════            TCP
                          LTE 10 Mbit/s
                         MPTCP + Convert
`

const aggregatorConfig = `
admin: {socket: ""}
listeners:
  - name: converter
    type: convert
    listen: ["192.0.2.1:8803"]
    allow-from: [198.51.100.0/24]
    upstream: direct
`

const cpeConfig = `
admin: {socket: ""}
listeners:
  - name: lan
    type: tproxy
    listen: ["0.0.0.0:8804"]
    allow-from: [192.168.1.0/24]
    tproxy:
      interfaces: [lan]
    upstream: aggregator
upstreams:
  - name: aggregator
    type: convert
    servers: ["192.0.2.1:8803"]
    when-down: refuse
`
