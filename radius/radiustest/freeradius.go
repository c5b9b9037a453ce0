// SPDX-License-Identifier: Apache-2.0

// Package radiustest runs FreeRADIUS for tests.
package radiustest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// Secret is what the server and its clients share.
const Secret = "a secret of the tests"

// FreeRADIUS is a server that runs on loopback until its test ends.
type FreeRADIUS struct {
	Auth, Acct string // addresses
	dir        string
	command    *exec.Cmd
	ended      chan struct{}
	log        log
}

type log struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *log) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.WriteString(line + "\n")
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Config is how a server is run.
type Config struct {
	Users string // its file of users, see users(5)
	// Unsigned leaves Message-Authenticator out of answers.
	Unsigned bool
	// Auth and Acct are addresses to run on; empty: free ones.
	Auth, Acct string
	// Within runs what starts the server, in the network namespace where it
	// belongs; nil: this one.
	Within func(func() error) error
}

// Start runs a server, or skips the test where there is none installed.
func Start(t testing.TB, c Config) *FreeRADIUS {
	t.Helper()
	program, err := exec.LookPath("freeradius")
	if err != nil {
		t.Skip("needs freeradius: make deps")
	}
	f := &FreeRADIUS{Auth: c.Auth, Acct: c.Acct, dir: t.TempDir(), ended: make(chan struct{})}
	if f.Auth == "" {
		f.Auth, f.Acct = FreeAddress(t), FreeAddress(t)
	}
	f.write(t, "users", c.Users)
	f.write(t, "dictionary", includeDictionary())
	f.write(t, "radiusd.conf", f.config(c))
	f.command = exec.Command(program, "-f", "-l", "stdout", "-xx", "-d", f.dir)
	out, in := io.Pipe()
	f.command.Stdout, f.command.Stderr = in, in
	if c.Within == nil {
		c.Within = func(start func() error) error { return start() }
	}
	if err := c.Within(f.command.Start); err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	go func() {
		lines, told := bufio.NewScanner(out), false
		for lines.Scan() {
			f.log.add(lines.Text())
			if !told && strings.Contains(lines.Text(), "Ready to process requests") {
				told = true
				close(ready)
			}
		}
	}()
	go func() {
		_ = f.command.Wait() // it is killed
		in.Close()
		close(f.ended)
	}()
	t.Cleanup(f.Stop)
	select {
	case <-ready:
	case <-f.ended:
		t.Fatalf("freeradius has ended:\n%s", &f.log)
	case <-time.After(20 * time.Second):
		t.Fatalf("freeradius is not ready:\n%s", &f.log)
	}
	return f
}

// Stop ends the server.
func (f *FreeRADIUS) Stop() {
	_ = f.command.Process.Kill() // it may have ended
	<-f.ended
}

// Log is what the server has said until now.
func (f *FreeRADIUS) Log() string { return f.log.String() }

// Detail is the accounting records until now, as the server writes them.
func (f *FreeRADIUS) Detail(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(f.dir, "detail"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(text)
}

// ClientDir is a directory with Tandem's dictionary, for radclient -d.
func ClientDir(t testing.TB) string {
	t.Helper()
	f := &FreeRADIUS{dir: t.TempDir()}
	f.write(t, "dictionary", includeDictionary())
	return f.dir
}

func (f *FreeRADIUS) write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(f.dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// includeDictionary is a dictionary that is Tandem's, beside those of FreeRADIUS.
func includeDictionary() string {
	_, file, _, _ := runtime.Caller(0)
	return "$INCLUDE " + filepath.Join(filepath.Dir(file), "../../deploy/radius/dictionary.tandem") + "\n"
}

// FreeAddress is a UDP address on loopback that nobody has.
func FreeAddress(t testing.TB) string {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.LocalAddr().String()
}

func (f *FreeRADIUS) config(c Config) string {
	signed := "update reply {\n &Message-Authenticator := 0x00\n}"
	if c.Unsigned {
		signed = ""
	}
	listen := func(kind, address string) string {
		host, port, _ := net.SplitHostPort(address)
		return fmt.Sprintf("listen {\n type = %s\n ipaddr = %s\n port = %s\n}\n", kind, host, port)
	}
	return fmt.Sprintf(`
prefix = /usr
name = freeradius
logdir = %[1]s
run_dir = %[1]s
libdir = /usr/lib/freeradius
pidfile = %[1]s/pid
max_request_time = 5
cleanup_delay = 1
hostname_lookups = no
security {
	reject_delay = 0
	status_server = yes
	allow_core_dumps = no
}
thread pool {
	start_servers = 1
	max_servers = 4
	min_spare_servers = 1
	max_spare_servers = 2
}
client loopback {
	ipaddr = 127.0.0.0/8
	secret = "%[2]s"
	require_message_authenticator = yes
}
modules {
	pap {
	}
	files {
		filename = %[1]s/users
	}
	detail {
		filename = %[1]s/detail
		permissions = 0600
	}
}
server default {
	%[3]s
	%[4]s
	authorize {
		files
		pap
	}
	authenticate {
		Auth-Type PAP {
			pap
		}
	}
	post-auth {
		%[5]s
		Post-Auth-Type REJECT {
			%[5]s
		}
	}
	accounting {
		detail
	}
}
`, f.dir, Secret, listen("auth", f.Auth), listen("acct", f.Acct), signed)
}
