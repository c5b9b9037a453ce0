// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

// tokenForm is that of names of header fields, RFC 9110 section 5.6.2.
var tokenForm = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")

func (v *validator) telemetry(t Telemetry) {
	for i, a := range t.Prometheus.Listen {
		path := fmt.Sprintf("telemetry.prometheus.listen[%d]", i)
		v.listenAddress(path, a)
		if a.IsValid() && !a.Addr().IsLoopback() && !a.Addr().IsPrivate() {
			v.warn(path, a.String()+" may be reached by others", "better an address that only Prometheus can reach")
		}
	}
	unique(v, "telemetry.prometheus.listen", t.Prometheus.Listen)
	ranged(v, "telemetry.traces.ratio", t.Traces.Ratio, 0, 1)
	o := t.OTLP
	ranged(v, "telemetry.otlp.interval", o.Interval, 100*time.Millisecond, 24*time.Hour)
	ranged(v, "telemetry.otlp.timeout", o.Timeout, 100*time.Millisecond, 10*time.Minute)
	if u, err := url.Parse(o.Endpoint); o.Endpoint != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "") {
		v.bad("telemetry.otlp.endpoint", quote(o.Endpoint), "want the URL of a collector, such as https://collector.example.com:4318")
	}
	if t.Traces.Ratio > 0 && o.Endpoint == "" {
		v.bad("telemetry.traces.ratio", text(t.Traces.Ratio)+" without a collector", "want telemetry.otlp.endpoint too")
	}
	if (o.CertFile == "") != (o.KeyFile == "") {
		v.bad("telemetry.otlp.cert-file", "a certificate without a key, or a key without one", "want both cert-file and key-file")
	}
	for i, h := range o.Headers {
		path := fmt.Sprintf("telemetry.otlp.headers[%d]", i)
		if !tokenForm.MatchString(h.Name) {
			v.bad(join(path, "name"), quote(h.Name), "want the name of a header field, such as Authorization")
		}
		if h.Value != "" && h.ValueFile != "" {
			v.bad(join(path, "value"), "value and value-file", "want one of them")
		}
	}
}

func (v *validator) records(r Records) {
	v.count("records.file.keep", r.File.Keep)
	ranged(v, "records.room", r.Room, 1, 1<<20)
	ranged(v, "records.ipfix.templates", r.IPFIX.Templates, time.Second, 24*time.Hour)
	for i, c := range r.IPFIX.Collectors {
		v.connectable(fmt.Sprintf("records.ipfix.collectors[%d]", i), c)
	}
	unique[netip.AddrPort](v, "records.ipfix.collectors", r.IPFIX.Collectors)
}

// files lists the files that are read to tell a collector.
func (o *OTLP) files() []fileKey {
	keys := []fileKey{
		{"telemetry.otlp.ca-file", &o.CAFile}, {"telemetry.otlp.cert-file", &o.CertFile}, {"telemetry.otlp.key-file", &o.KeyFile},
	}
	for i := range o.Headers {
		keys = append(keys, fileKey{fmt.Sprintf("telemetry.otlp.headers[%d].value-file", i), &o.Headers[i].ValueFile})
	}
	return keys
}

// read lists the files that are read as they are.
func (c *Config) read() []fileKey { return append(c.Telemetry.OTLP.files(), c.Admin.files()...) }

// locateTelemetry takes paths as relative to a directory.
func (c *Config) locateTelemetry(dir string) {
	for _, k := range append(c.read(), fileKey{"records.file.path", &c.Records.File.Path}) {
		if *k.file != "" && !filepath.IsAbs(*k.file) {
			*k.file = filepath.Join(dir, *k.file)
		}
	}
}

// telemetryFiles checks that the files can be read.
func (v *validator) telemetryFiles(c *Config) {
	for _, k := range c.read() {
		if *k.file == "" {
			continue
		}
		if f, err := os.Open(*k.file); err != nil {
			v.bad(k.path, err.Error(), "want a file that can be read")
		} else {
			f.Close()
		}
	}
}
