// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/netip"
	"time"
)

// Telemetry says who is told what Tandem does; see docs/telemetry.md. Changes
// take effect when Tandem is started again.
type Telemetry struct {
	// Metrics for Prometheus.
	Prometheus Prometheus `yaml:"prometheus"`

	// Metrics and traces for a collector of OpenTelemetry.
	OTLP OTLP `yaml:"otlp"`

	// Which connections are traced.
	Traces Traces `yaml:"traces"`
}

// Prometheus is where metrics can be scraped.
type Prometheus struct {
	// Addresses and ports that answer `GET /metrics`, to everybody: choose ones
	// that only those can reach who may know. None if not given.
	Listen []netip.AddrPort `yaml:"listen"`
}

// OTLP is a collector that is told everything, over OTLP/HTTP.
type OTLP struct {
	// Where the collector is; `/v1/metrics` and `/v1/traces` are appended. ""
	// is none.
	Endpoint string `yaml:"endpoint"`

	// How often metrics are sent.
	Interval time.Duration `yaml:"interval"`

	// How long sending may take.
	Timeout time.Duration `yaml:"timeout"`

	// What is sent along, such as a token.
	Headers []Header `yaml:"headers"`

	// Certificates of the authorities that the collector's is checked with, in
	// PEM; those of the system if not given.
	CAFile string `yaml:"ca-file"`

	// Certificate to show to the collector, in PEM.
	CertFile string `yaml:"cert-file"`

	// Its key, in PEM.
	KeyFile string `yaml:"key-file"`
}

// Header is a field of HTTP requests.
type Header struct {
	// Name of the field.
	Name string `yaml:"name"`

	// Its value.
	Value string `yaml:"value"`

	// File with the value in its first line, instead of value.
	ValueFile string `yaml:"value-file"`
}

// Traces say which connections are traced.
type Traces struct {
	// The share of connections that are, from 0 to 1.
	Ratio float64 `yaml:"ratio"`
}

// Records say where one record of each connection that has ended is kept.
// Changes take effect when Tandem is started again.
type Records struct {
	// A file of JSON lines.
	File RecordFile `yaml:"file"`

	// Collectors of IPFIX: RFC 7011.
	IPFIX IPFIX `yaml:"ipfix"`

	// Records that may wait to be written. Further ones are dropped, and
	// counted: traffic never waits. Each takes about 600 bytes while it waits.
	Room int `yaml:"room"`
}

// RecordFile is a file of JSON lines.
type RecordFile struct {
	// Its path; "" is none. Its directory is created if there is none.
	Path string `yaml:"path"`

	// Size at which it is put aside: its name gets `.1` appended, what had that
	// name gets `.2`, and so on. 0 is any.
	MaxSize Size `yaml:"max-size"`

	// Age at which it is put aside, likewise; 0s is any.
	MaxAge time.Duration `yaml:"max-age"`

	// Files put aside that are kept.
	Keep int `yaml:"keep"`
}

// IPFIX are collectors of flow records.
type IPFIX struct {
	// Addresses and ports of the collectors, each of which gets all records.
	Collectors []netip.AddrPort `yaml:"collectors"`

	// How messages travel.
	Transport Transport `yaml:"transport"`

	// Observation Domain ID, which tells this Tandem from others.
	Domain uint32 `yaml:"domain"`

	// How often templates are repeated over UDP.
	Templates time.Duration `yaml:"templates"`
}
