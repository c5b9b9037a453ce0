// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/radius/radiustest"
)

const aaaConfig = `
subscribers:
  radius:
    servers: [{address: "127.0.0.1:1812", secret: ` + radiustest.Secret + `}]
    timeout: 300ms
    tries: 3
    accounting: {servers: [{address: "127.0.0.1:1813", secret: ` + radiustest.Secret + `}]}
    dynamic: {listen: "127.0.0.1:3799", clients: [{address: 127.0.0.1, secret: ` + radiustest.Secret + `}]}
    cache: {negative: 1s}
listeners:
  - name: phones
    type: socks5
    listen: ['192.0.2.1:1080']
    allow-from: [198.51.100.0/24]
    subscribers: required
`

// login asks for a tunnel to the echo server and returns what the authentication
// ended with: 0 is success.
func login(t *testing.T, c net.Conn, user, password string) byte {
	t.Helper()
	request := append([]byte{5, 1, 2, 1, byte(len(user))}, user...)
	request = append(append(request, byte(len(password))), password...)
	request = append(request, 5, 1, 0, 1, 203, 0, 113, 80, 0, 7)
	if _, err := c.Write(request); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 4)
	if _, err := io.ReadFull(c, answer); err != nil {
		t.Fatal(err)
	}
	if answer[3] == 0 {
		reply := make([]byte, 10)
		if _, err := io.ReadFull(c, reply); err != nil || reply[1] != 0 {
			t.Fatalf("%v, %v", reply, err)
		}
	}
	return answer[3]
}

// TestRADIUS has a FreeRADIUS say who may use the gateway, hear what was used, and
// end a session.
func TestRADIUS(t *testing.T) {
	t.Parallel()
	r := newRelayed(t, aaaConfig)
	server := radiustest.Start(t, radiustest.Config{
		Users: "anna\tCleartext-Password := \"geheim\"\n\tClass = \"gold\"\n", Auth: "127.0.0.1:1812", Acct: "127.0.0.1:1813",
		Within: r.Aggregator.Do,
	})
	dial := func() net.Conn {
		t.Helper()
		c, err := r.dial("192.0.2.1:1080")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		return c
	}
	if got := login(t, dial(), "anna", "falsch"); got == 0 {
		t.Error("a wrong password is let in")
	}
	c := dial()
	if got := login(t, c, "anna", "geheim"); got != 0 {
		t.Fatalf("told %d\n%s", got, server.Log())
	}
	if _, err := c.Write([]byte("twelve bytes")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 12)); err != nil {
		t.Fatal(err)
	}
	detail := func(words ...string) {
		t.Helper()
		labtest.Await(t, patience, "accounting record with "+strings.Join(words, ", "), func() bool {
			text := server.Detail(t)
			for _, w := range words {
				if !strings.Contains(text, w) {
					return false
				}
			}
			return true
		})
	}
	detail("Acct-Status-Type = Start", `User-Name = "anna"`, "Class = 0x676f6c64")

	r.changeSession(t, "coa", "Tandem-Rate-Up=1000, ", "CoA-ACK")
	r.changeSession(t, "coa", "Filter-Id=nonesuch, ", "CoA-NAK")
	r.changeSession(t, "disconnect", "", "Disconnect-ACK")
	if n, err := c.Read(make([]byte, 1)); err == nil {
		t.Errorf("%d bytes after the session was ended", n)
	}
	detail("Acct-Status-Type = Stop", "Acct-Terminate-Cause = Admin-Reset", "Acct-Input-Octets = 12", "Acct-Output-Octets = 12")

	server.Stop()
	if got := login(t, dial(), "anna", "geheim"); got == 0 {
		t.Error("let in though no server answers and the session was ended")
	}
	awaitLog(t, r.tandem, "a RADIUS server does not answer")
}

// changeSession asks, as a RADIUS server, for a change of anna's session.
func (r *relayed) changeSession(t *testing.T, command, attributes, want string) {
	t.Helper()
	request := attributes + "User-Name=anna, Message-Authenticator=0x00, Event-Timestamp=" + time.Now().UTC().Format(`"Jan _2 2006 15:04:05 UTC"`) + "\n"
	var out bytes.Buffer
	radclient := exec.Command("radclient", "-x", "-r", "5", "-t", "2", "-d", radiustest.ClientDir(t), "127.0.0.1:3799", command, radiustest.Secret)
	radclient.Stdin, radclient.Stdout, radclient.Stderr = strings.NewReader(request), &out, &out
	if err := r.Aggregator.Do(radclient.Start); err != nil {
		t.Skip(err)
	}
	_ = radclient.Wait() // fails on a NAK
	// It also says what it has expected.
	if !strings.Contains(out.String(), "Received "+want) {
		t.Errorf("%s: want %s, got\n%s", command, want, &out)
	}
}

// TestSessionsAreChangedAfterAnUpgrade asks the process that serves, while those
// before it still have tunnels.
func TestSessionsAreChangedAfterAnUpgrade(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "admin.sock")
	r := newRelayed(t, "admin: {socket: "+socket+"}\n"+strings.NewReplacer(
		`servers: [{address: "127.0.0.1:1812", secret: `+radiustest.Secret+`}]`, "", "    timeout: 300ms\n", "", "    tries: 3\n", "",
		`accounting: {servers: [{address: "127.0.0.1:1813", secret: `+radiustest.Secret+`}]}`, "", "    cache: {negative: 1s}\n", "",
		"subscribers:\n  radius", "subscribers:\n  list: [{name: anna, password: geheim}, {name: bert, password: auch}]\n  radius",
	).Replace(aaaConfig))
	client := admin.NewClient(socket)
	t.Cleanup(client.Close)
	endSuccessor(t, client)
	tunnel := func(user, password string) net.Conn {
		t.Helper()
		c, err := r.dial("192.0.2.1:1080")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if got := login(t, c, user, password); got != 0 {
			t.Fatalf("told %d", got)
		}
		return c
	}
	upgrade := func() {
		t.Helper()
		if _, err := client.Upgrade(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	tunnel("bert", "auch")
	upgrade()
	old := tunnel("anna", "geheim")
	for range 8 { // each from a port of its own
		r.changeSession(t, "coa", "Tandem-Rate-Up=1000, ", "CoA-ACK")
	}

	// Two processes have a session of hers, and the one from before both of them none.
	upgrade()
	r.changeSession(t, "coa", "Tandem-Rate-Up=1000, ", "CoA-ACK")
	r.changeSession(t, "coa", "Filter-Id=nonesuch, ", "CoA-NAK")
	now := tunnel("anna", "geheim")
	r.changeSession(t, "disconnect", "", "Disconnect-ACK")
	for _, c := range []net.Conn{old, now} {
		if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%d bytes, %v after the session was ended", n, err)
		}
	}
	r.changeSession(t, "disconnect", "", "Disconnect-NAK")
}
