// SPDX-License-Identifier: Apache-2.0

// Command demo shows what Tandem is for, in network namespaces of its own: a
// home with a DSL and an LTE link downloads over both at once, and goes on when
// one of them is cut.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/apps"
)

// The access links of the home, in bit/s.
const (
	dslRate = 20e6
	lteRate = 10e6
)

func main() {
	tandem := flag.String("tandem", "bin/tandem", "the tandem `program`")
	size := flag.Int64("size", 20_000_000, "size of each download in `bytes`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *tandem, *size); err != nil {
		if ctx.Err() != nil {
			err = errors.New("interrupted; everything has been cleaned up")
		}
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, tandem string, size int64) (err error) {
	tandem, err = filepath.Abs(tandem)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "tandem-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	// What a killed demonstration has left behind.
	if _, err := lab.Clean("demo"); err != nil {
		return err
	}
	home, err := lab.NewHybridHome("demo", lab.HybridHomeSpec{
		DSL: lab.LinkSpec{Rate: dslRate},
		LTE: lab.LinkSpec{Rate: lteRate},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, home.Close()) }()
	fmt.Print(picture)

	server := netip.AddrPortFrom(home.ServerAddr.V4, 80)
	web, err := apps.StartNginx(ctx, home.Server, apps.NginxConfig{Listen: []netip.AddrPort{server}, Size: size, Dir: dir})
	if err != nil {
		return err
	}
	for _, host := range []struct {
		*lab.Host
		config string
	}{{home.Aggregator, aggregatorConfig}, {home.CPE, cpeConfig}} {
		_, err := apps.StartTandem(ctx, host.Host, apps.TandemConfig{Command: []string{tandem}, Config: host.config, Dir: dir})
		if err != nil {
			return err
		}
	}

	d := &downloads{home: home, web: web, url: web.URL(server)}
	fmt.Printf("\n1. curl %s on the LAN client: plain TCP, no proxy set.\n\n", d.url)
	if err := d.run(ctx, nil); err != nil {
		return err
	}
	fmt.Printf("\n2. The same, and the DSL link is cut in the middle of it.\n\n")
	return d.run(ctx, func(done float64) error {
		if done < 0.4 || d.cut {
			return nil
		}
		d.cut = true
		fmt.Println("   ✂  DSL is down")
		return home.DSL.Down()
	})
}

// downloads are of one file, through the home's links.
type downloads struct {
	home *lab.HybridHome
	web  *apps.Nginx
	url  string
	cut  bool
}

// run downloads the file and shows what the links carry meanwhile. each is
// called after every line with the share of the file that has come.
func (d *downloads) run(ctx context.Context, each func(done float64) error) error {
	type outcome struct {
		apps.CurlResult
		error
	}
	finished := make(chan outcome, 1)
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		r, err := apps.Curl(ctx, d.home.Client, "--max-time", "120", d.url)
		finished <- outcome{r, err}
	}()
	defer func() { cancel() }()
	m, err := newMeter(d.home)
	if err != nil {
		return err
	}
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case o := <-finished:
			if o.error != nil {
				return o.error
			}
			return d.report(ctx, o.CurlResult)
		case <-tick.C:
			carried, err := m.show()
			if err == nil && each != nil {
				err = each(float64(carried) / float64(d.web.Size))
			}
			if err != nil {
				cancel()
				<-finished
				return err
			}
		}
	}
}

// report says how a download went.
func (d *downloads) report(ctx context.Context, r apps.CurlResult) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if r.ExitCode != 0 || r.SHA256 != d.web.SHA256 {
		return fmt.Errorf("the download failed: curl's exit code %d, %d of %d bytes, SHA-256 %s instead of %s: %s",
			r.ExitCode, r.Size, d.web.Size, r.SHA256, d.web.SHA256, r.Message)
	}
	fmt.Printf("\n   %.1f MB in %.1f s: %.1f Mbit/s (DSL alone has %.0f, LTE %.0f); SHA-256 is right: %s…\n",
		float64(r.Size)/1e6, r.Elapsed.Seconds(), r.Rate/1e6, dslRate/1e6, lteRate/1e6, r.SHA256[:16])
	return nil
}
