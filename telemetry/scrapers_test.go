// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"bufio"
	"errors"
	"net"
	"net/http"
	"os"
	"testing"
	"time"
)

// scraper is a connection on which metrics are asked for.
type scraper struct {
	net.Conn
	in *bufio.Reader
}

func dialScraper(t *testing.T, tel *Telemetry) *scraper {
	t.Helper()
	c, err := net.Dial("tcp", tel.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &scraper{c, bufio.NewReader(c)}
}

func (s *scraper) ask(t *testing.T) {
	t.Helper()
	if _, err := s.Write([]byte("GET /nothing HTTP/1.1\r\nHost: tandem\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
}

// answer waits for the beginning of an answer.
func (s *scraper) answer(within time.Duration) error {
	if err := s.SetReadDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	r, err := http.ReadResponse(s.in, nil)
	if err != nil {
		return err
	}
	return r.Body.Close()
}

// Connections for scrapes cannot take all descriptors: further ones wait until one
// of them has gone.
func TestScrapersAreBounded(t *testing.T) {
	tel := start(t, Options{Read: busy, Prometheus: anyPort})
	var served []*scraper
	for range maxScrapers {
		s := dialScraper(t, tel)
		s.ask(t)
		if err := s.answer(20 * time.Second); err != nil {
			t.Fatal(err)
		}
		served = append(served, s)
	}
	late := dialScraper(t, tel)
	late.ask(t)
	if err := late.answer(50 * time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("one too many was answered: %v", err)
	}
	served[0].Close()
	if err := late.answer(20 * time.Second); err != nil {
		t.Errorf("with room again: %v", err)
	}
}
