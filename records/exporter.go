// SPDX-License-Identifier: Apache-2.0

package records

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"
)

const (
	// DefaultTemplates is how often a collector over UDP is told the templates.
	DefaultTemplates = 10 * time.Minute
	sendTimeout      = 2 * time.Second
)

// ExporterOptions say where IPFIX messages go.
type ExporterOptions struct {
	Collectors []netip.AddrPort // each gets all records
	TCP        bool             // UDP if not
	Domain     uint32           // the Observation Domain ID
	Templates  time.Duration    // how often UDP repeats the templates; 0 is DefaultTemplates
}

// exporter sends records to a collector. It connects when there is something to
// send, and again after a failure.
type exporter struct {
	collector netip.AddrPort
	o         ExporterOptions
	encoder   encoder
	now       func() time.Time
	conn      net.Conn
	told      time.Time // when the templates were sent on conn
}

func newExporter(collector netip.AddrPort, o ExporterOptions) *exporter {
	o.Templates = cmp.Or(o.Templates, DefaultTemplates)
	return &exporter{collector: collector, o: o, encoder: encoder{domain: o.Domain}, now: time.Now}
}

// write implements sink.
func (e *exporter) write(batch []entry) (int, error) {
	if err := e.connect(); err != nil {
		return 0, fmt.Errorf("ipfix: %w", err)
	}
	now := e.now()
	templates := e.told.IsZero() || !e.o.TCP && now.Sub(e.told) >= e.o.Templates
	if templates {
		e.told = now
	}
	n, err := e.encoder.messages(batch, templates, now, e.send)
	if err != nil {
		e.close()
		return n, fmt.Errorf("ipfix: %w", err)
	}
	return n, nil
}

func (e *exporter) connect() error {
	if e.conn != nil {
		return nil
	}
	network := "udp"
	if e.o.TCP {
		network = "tcp"
	}
	ctx, cancel := context.WithTimeout(context.Background(), sendTimeout)
	defer cancel()
	var d net.Dialer
	d.SetMultipathTCP(false)
	c, err := d.DialContext(ctx, network, e.collector.String())
	if err != nil {
		return err
	}
	// Each session begins with sequence number 0 (RFC 7011 section 10.3.2).
	e.conn, e.told, e.encoder.sequence = c, time.Time{}, 0
	return nil
}

func (e *exporter) send(message []byte) error {
	if err := e.conn.SetWriteDeadline(time.Now().Add(sendTimeout)); err != nil {
		return err
	}
	_, err := e.conn.Write(message)
	return err
}

func (e *exporter) close() error {
	if e.conn == nil {
		return nil
	}
	err := e.conn.Close()
	e.conn = nil
	return err
}
