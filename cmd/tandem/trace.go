// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tandem-gateway/tandem/trace"
	"github.com/tandem-gateway/tandem/trace/packet"
	"github.com/tandem-gateway/tandem/trace/summary"
)

// traceOutput is what is wanted of a capture.
type traceOutput struct {
	json, connections, subflows bool
	page                        string // file
}

func traceCommand() *cobra.Command {
	options := trace.Defaults()
	var out traceOutput
	cmd := &cobra.Command{
		Use:   "trace FILE|-",
		Short: "Tell what MPTCP connections in a packet capture did",
		Long: `Trace reads a capture of packets (pcap or pcapng, also compressed with gzip; - is
standard input) once and tells what the MPTCP connections in it did: how many
there were, which fell back to TCP and why, how long they lasted and what they
carried, their subflows, when those joined, their round trips and shares, what
was retransmitted and reinjected, and how they ended. It reads MPTCP version 1
(RFC 8684) and version 0 (RFC 6824), and needs no more of packets than their
headers. Memory is for the connections that live at a time.

With --connections it prints each connection when it ends; with --json, the
summary or, one per line, connections as JSON.`,
		Example: `  tcpdump -i any -s 192 -w server.pcap tcp port 443
  tandem trace server.pcap
  tandem trace --connections --json server.pcap | jq 'select(.fallback != null)'
  tandem trace --html mptcp.html server.pcap
  tcpdump -i any -s 192 -w - tcp | tandem trace --connections -`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if options.Live < 1 || options.Idle <= 0 {
				return errors.New("--live and --idle: want more than 0")
			}
			if out.subflows && (!out.connections || out.json) {
				return errors.New("--subflows is for --connections without --json, which has them")
			}
			return runTrace(cmd, args[0], options, out)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&out.json, "json", false, "print JSON")
	f.BoolVar(&out.connections, "connections", false, "print a line for each connection that asked for MPTCP, when it is over, and no summary")
	f.BoolVar(&out.subflows, "subflows", false, "with --connections, also a line for each subflow")
	f.StringVar(&out.page, "html", "", "also write the summary with plots as a page to `file`")
	f.DurationVar(&options.Idle, "idle", options.Idle, "`time` without a packet after which a connection counts as over")
	f.IntVar(&options.Live, "live", options.Live, "follow at most this `number` of connections at once, plain TCP included")
	return cmd
}

// runTrace reads a capture. An interrupt ends a capture from a program that is
// still writing it: what was read so far is told.
func runTrace(cmd *cobra.Command, name string, o trace.Options, out traceOutput) error {
	file, err := openCapture(cmd, name)
	if err != nil {
		return err
	}
	defer file.Close()
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r, err := packet.NewReader(file)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	total := summary.New()
	print := newTracePrinter(cmd.OutOrStdout(), out)
	a := trace.New(o, func(c *trace.Connection) {
		total.Add(c)
		print.connection(c)
	})
	var s packet.Segment
	for ctx.Err() == nil {
		if err = r.Next(&s); err != nil {
			break
		}
		a.Segment(&s)
	}
	if err == io.EOF {
		err = nil
	} else if err != nil {
		err = fmt.Errorf("%s: %w", name, err)
	}
	a.Close()
	total.End(r.Stats(), a.Counts())
	// What was read is told in any case.
	return errors.Join(err, print.end(total), writeTracePage(total, name, out.page))
}

func openCapture(cmd *cobra.Command, name string) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(cmd.InOrStdin()), nil
	}
	return os.Open(name)
}

func writeTracePage(s *summary.Summary, name, file string) error {
	if file == "" {
		return nil
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	if name == "-" {
		name = "standard input"
	}
	return errors.Join(s.WritePage(f, filepath.Base(name)), f.Close())
}

// tracePrinter prints connections, or the summary. Its writer keeps the first
// error for the end.
type tracePrinter struct {
	traceOutput
	w       *bufio.Writer
	flushed time.Time
}

const traceColumns = "%8s  %-15s  %10s  %-10s  %-10s  %-43s  %-43s  %8s  %8s  %8s  %5s  %s\n"

func newTracePrinter(w io.Writer, out traceOutput) *tracePrinter {
	p := &tracePrinter{traceOutput: out, w: bufio.NewWriter(w), flushed: time.Now()}
	if p.connections && !p.json {
		fmt.Fprintf(p.w, traceColumns, "NUMBER", "START", "DURATION", "OUTCOME", "ENDING", "CLIENT", "SERVER", "UP", "DOWN", "AGAIN", "PATHS", "FALLBACK")
	}
	return p
}

// connection prints a connection that is over.
func (p *tracePrinter) connection(c *trace.Connection) {
	if !p.connections {
		return
	}
	if p.json {
		_ = json.NewEncoder(p.w).Encode(c) // fails only if the writer does
	} else {
		p.line(c)
	}
	// A capture may come slowly.
	if now := time.Now(); now.Sub(p.flushed) > time.Second {
		p.flushed = now
		p.w.Flush()
	}
}

// line prints a connection for people.
func (p *tracePrinter) line(c *trace.Connection) {
	established := 0
	for _, s := range c.Subflows {
		if s.Opening == trace.Established {
			established++
		}
	}
	fmt.Fprintf(p.w, traceColumns, fmt.Sprint(c.Number), c.Start.Format("15:04:05.000000"), seconds(c.Duration), c.Outcome, c.Ending,
		c.Client, c.Server, bytesText(c.Up.Bytes), bytesText(c.Down.Bytes), bytesText(c.Up.Reinjected+c.Down.Reinjected),
		fmt.Sprint(established), c.Fallback)
	if !p.subflows {
		return
	}
	t := tabwriter.NewWriter(p.w, 0, 8, 2, ' ', 0)
	for i, s := range c.Subflows {
		var notes []string
		if s.Backup {
			notes = append(notes, "backup")
		}
		if s.Opening == trace.Established && !s.Used() {
			notes = append(notes, "unused")
		}
		notes = append(notes, strings.Join(strings.Fields(fmt.Sprint(s.Close.How, " ", s.Close.By, " ", s.Close.Reason)), " "))
		fmt.Fprintf(t, "          %d\t%s\t%s\tby %s\t%s\tafter %s\thandshake %s\tup %s\tdown %s\tagain %s\t%s\n", i+1, s.Client, s.Server, s.OpenedBy, s.Opening,
			seconds(s.Join), milliText(s.Handshake), bytesText(s.Up.Bytes), bytesText(s.Down.Bytes), bytesText(s.Up.Reinjected+s.Down.Reinjected), strings.Join(notes, ", "))
	}
	t.Flush()
}

// end prints the summary if that is wanted.
func (p *tracePrinter) end(s *summary.Summary) error {
	var err error
	switch {
	case p.connections:
	case p.json:
		err = printJSON(p.w, s)
	default:
		err = s.Write(p.w)
	}
	if err != nil {
		return err
	}
	return p.w.Flush()
}

func seconds(m trace.Millis) string { return fmt.Sprintf("%.3fs", time.Duration(m).Seconds()) }

func milliText(m trace.Millis) string {
	if m == 0 {
		return "-"
	}
	return fmt.Sprintf("%.3fms", float64(m)/1e6)
}
