// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/tandem-gateway/tandem/admin"
)

const (
	topConnections = 5000 // that are looked at
	topSubscribers = 1000
	topWidth       = 160 // columns where there is no terminal
)

func topCommand() *cobra.Command {
	var interval time.Duration
	var once bool
	c := operator(&cobra.Command{
		Use:   "top",
		Short: "Watch the running tandem",
		Long: `Shows what the running tandem does, until q is pressed: rates of each path, the
subscribers and the connections with the highest rates, and the options in force.
Where the output is no terminal it is shown once.

Keys: q quits, s changes the order of connections (rate, bytes, age), space holds
the picture.`,
		Example: "  tandem top --interval 1s",
		Args:    cobra.NoArgs,
	}, func(cmd *cobra.Command, client *admin.Client, _ []string) error {
		if interval < 100*time.Millisecond {
			return fmt.Errorf("--interval %v: want at least 100ms", interval)
		}
		v := &topView{}
		out, _ := cmd.OutOrStdout().(*os.File)
		if once || out == nil || !term.IsTerminal(int(out.Fd())) {
			return topOnce(cmd.Context(), client, v, interval, cmd.OutOrStdout())
		}
		return topLive(cmd.Context(), client, v, interval, out)
	})
	f := c.Flags()
	f.DurationVar(&interval, "interval", 2*time.Second, "`time` between two looks, which rates are of")
	f.BoolVar(&once, "once", false, "show it once")
	return c
}

// topOnce needs two looks to know rates.
func topOnce(ctx context.Context, client *admin.Client, v *topView, interval time.Duration, out io.Writer) error {
	for range 2 {
		if v.taken > 0 {
			select {
			case <-time.After(interval):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		s, err := lookForTop(ctx, client)
		if err != nil {
			return err
		}
		v.take(s)
	}
	for _, line := range v.frame(topWidth, 0) {
		if _, err := fmt.Fprintln(out, line.text); err != nil {
			return err
		}
	}
	return nil
}

// topLive draws until somebody has enough.
func topLive(ctx context.Context, client *admin.Client, v *topView, interval time.Duration, out *os.File) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, syscall.SIGWINCH)
	defer signal.Stop(resized)
	s, err := openScreen(os.Stdin, out)
	if err != nil {
		return err
	}
	defer s.close()
	looks := make(chan looked, 1)
	looking := func() {
		one, err := lookForTop(ctx, client)
		looks <- looked{one, err}
	}
	go looking()
	next := time.NewTimer(interval)
	next.Stop()
	defer next.Stop()
	pending := true
	defer func() {
		stop()
		if pending {
			<-looks // the end of ctx ends it
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case l := <-looks:
			pending = false
			next.Reset(interval)
			if !v.held || l.err != nil {
				v.failure = l.err
				if l.err == nil {
					v.take(l.sample)
				}
			}
		case <-next.C:
			pending = true
			go looking()
			continue
		case key := <-s.keys:
			if !v.press(key) {
				return nil
			}
		case <-resized:
		}
		if err := s.draw(v); err != nil {
			return err
		}
	}
}

type looked struct {
	sample *topSample
	err    error
}

// topSample is what was seen at one moment.
type topSample struct {
	at          time.Time
	status      admin.Status
	connections []*admin.Connection
	more        bool // there are more connections
	subscribers []*admin.Subscriber
	paths       []admin.Paths
}

func lookForTop(ctx context.Context, client *admin.Client) (*topSample, error) {
	s := &topSample{}
	var err error
	if s.status, err = client.Status(ctx); err != nil {
		return nil, err
	}
	s.more, err = client.Connections(ctx, admin.Filter{Limit: topConnections}, func(c *admin.Connection) error {
		s.connections = append(s.connections, c)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if s.status.Subscribers != nil {
		_, err = client.Subscribers(ctx, admin.SubscriberFilter{Limit: topSubscribers}, func(one *admin.Subscriber) error {
			s.subscribers = append(s.subscribers, one)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	list, err := client.Paths(ctx)
	var answered *admin.Error
	if err != nil && !(errors.As(err, &answered) && answered.Status == http.StatusNotImplemented) {
		return nil, err
	}
	s.paths, s.at = list.Connections, time.Now()
	return s, nil
}

// harmless makes text that a client has chosen fit for a terminal: what is not
// printable could do anything there.
func harmless(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, text)
}
