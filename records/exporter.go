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
	// A collector that fails is left alone for restFactor times as long as that
	// took, because the file and the other collectors wait meanwhile.
	restFactor = 9
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
	failure   error     // the last one
	rests     time.Time // until then
}

func newExporter(collector netip.AddrPort, o ExporterOptions) *exporter {
	o.Templates = cmp.Or(o.Templates, DefaultTemplates)
	return &exporter{collector: collector, o: o, encoder: encoder{domain: o.Domain}, now: time.Now}
}

// write implements sink.
func (e *exporter) write(batch []entry) (int, error) {
	began := e.now()
	if began.Before(e.rests) {
		return 0, e.failure
	}
	n, err := e.sendAll(batch)
	if err != nil {
		e.failure = fmt.Errorf("ipfix: %w", err)
		now := e.now()
		e.rests = now.Add(restFactor * now.Sub(began))
		return n, e.failure
	}
	return n, nil
}

// sendAll sends all of some records, or tells how many it has.
func (e *exporter) sendAll(batch []entry) (int, error) {
	if err := e.connect(); err != nil {
		return 0, err
	}
	now := e.now()
	templates := e.told.IsZero() || !e.o.TCP && now.Sub(e.told) >= e.o.Templates
	if templates {
		e.told = now
	}
	n, err := e.encoder.messages(batch, templates, now, e.send)
	if err != nil {
		e.close()
	}
	return n, err
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
