// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/net/websocket"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/bench/serving"
)

// listenOn listens on a host until the end of the test.
func listenOn(t *testing.T, h *lab.Host, addr string) net.Listener {
	t.Helper()
	var l net.Listener
	err := h.Do(func() (err error) {
		l, err = net.Listen("tcp", addr)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// TestHTTP2 has curl fetch several files at once over one HTTP/2 connection.
func TestHTTP2(t *testing.T) {
	t.Parallel()
	h := newHome(t, lab.HybridHomeSpec{}, 1000)
	var connections, requests atomic.Int32
	body := bytes.Repeat([]byte("0123456789abcdef"), 1<<14)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 2 {
			requests.Add(1)
		}
		_, _ = w.Write(body)
	}))
	server.Listener.Close()
	server.Listener, server.EnableHTTP2 = listenOn(t, h.Server, "203.0.113.80:443"), true
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	server.StartTLS()
	t.Cleanup(server.Close)

	const files = 5
	args := []string{"--insecure", "--http2", "--parallel", "--no-progress-meter", "--max-time", "60"}
	for range files {
		args = append(args, "https://203.0.113.80/")
	}
	p := h.Client.Command(t.Context(), "curl", args...)
	got, err := p.Output()
	if err != nil || len(got) != files*len(body) {
		t.Fatalf("curl: %v, %d bytes, want %d", err, len(got), files*len(body))
	}
	if c, r := connections.Load(), requests.Load(); c != 1 || r != files {
		t.Errorf("%d requests over %d connections, want %d over one", r, c, files)
	}
	awaitLog(t, h.cpe, "connection ended", "server=203.0.113.80:443", "server_mptcp=yes")
}

// TestWebSocket has both ends of a WebSocket speak whenever they like.
func TestWebSocket(t *testing.T) {
	t.Parallel()
	h := newHome(t, lab.HybridHomeSpec{}, 1000)
	server := &http.Server{Handler: websocket.Handler(func(c *websocket.Conn) {
		if websocket.Message.Send(c, "hello") == nil {
			_, _ = io.Copy(c, c)
		}
	})}
	l := listenOn(t, h.Server, "203.0.113.80:8080")
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { server.Close() })

	config, err := websocket.NewConfig("ws://203.0.113.80:8080/", "http://203.0.113.80:8080/")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := (&relayed{TwoPath: &lab.TwoPath{Client: h.Client}}).dial("203.0.113.80:8080")
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if err := raw.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	c, err := websocket.NewClient(config, raw)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"hello", "one", strings.Repeat("long ", 50_000), "two"} {
		if text != "hello" { // which the server says
			if err := websocket.Message.Send(c, text); err != nil {
				t.Fatal(err)
			}
		}
		var got string
		for len(got) < len(text) {
			var part string
			if err := websocket.Message.Receive(c, &part); err != nil {
				t.Fatal(err)
			}
			got += part
		}
		if got != text {
			t.Fatalf("%d bytes came back of %d, or others", len(got), len(text))
		}
	}
}

// TestSSH keeps a session of OpenSSH through the loss of each link in turn.
func TestSSH(t *testing.T) {
	if _, err := exec.LookPath("ssh"); err != nil {
		t.Skip("ssh is not installed: Debian package openssh-client")
	}
	t.Parallel()
	operator, place := operatorAt(t, 0)
	manager := strings.Replace(cpe, "    when-down: refuse\n", "    when-down: refuse\n    paths: {manager: fullmesh, interfaces: [dsl, lte]}\n", 1)
	h := newHomeWith(t, lab.HybridHomeSpec{}, 1000, aggregator, place+manager)
	t.Cleanup(serving.Start(listenOn(t, h.Server, "203.0.113.80:22"), echoShell(t)))

	in, typing, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	screen, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer screen.Close()
	p := h.Client.Command(context.Background(), "ssh", "-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-T", "ada@203.0.113.80")
	p.Stdin, p.Stdout, p.Stderr = in, out, os.Stderr
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	out.Close()
	say := func(text string) {
		t.Helper()
		if _, err := io.WriteString(typing, text); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(text))
		if _, err := io.ReadFull(screen, got); err != nil || string(got) != text {
			t.Fatalf("the shell said %q, %v; want %q", got, err, text)
		}
	}
	say("hello\n")
	for _, access := range []lab.Access{h.DSL, h.LTE} {
		labtest.Await(t, patience, "subflows over both links", func() bool {
			list, err := operator.Paths(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range list.Connections {
				var devices []string
				for _, f := range c.Subflows {
					if f.State == "established" {
						devices = append(devices, f.Interface)
					}
				}
				if slices.Contains(devices, "dsl") && slices.Contains(devices, "lte") {
					return true
				}
			}
			return false
		})
		if err := access.Down(); err != nil {
			t.Fatal(err)
		}
		say("still there\n")
		if err := access.Up(); err != nil {
			t.Fatal(err)
		}
	}
	typing.Close() // the shell ends, and then the session
	if err := p.Wait(); err != nil {
		t.Errorf("ssh: %v", err)
	}
}

// echoShell serves SSH to everybody, with a shell that says what it hears.
func echoShell(t *testing.T) func(net.Conn) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	config := &ssh.ServerConfig{NoClientAuth: true}
	config.AddHostKey(signer)
	return func(c net.Conn) {
		_, channels, requests, err := ssh.NewServerConn(c, config)
		if err != nil {
			return
		}
		go ssh.DiscardRequests(requests)
		for n := range channels {
			channel, requests, err := n.Accept()
			if err != nil {
				return
			}
			go func() {
				for r := range requests {
					_ = r.Reply(r.Type == "shell", nil)
				}
			}()
			_, _ = io.Copy(channel, channel)
			_, _ = channel.SendRequest("exit-status", false, make([]byte, 4))
			channel.Close()
		}
	}
}
