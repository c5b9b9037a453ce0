// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	socks5 "golang.org/x/net/proxy"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/bench/serving"
	"github.com/tandem-gateway/tandem/mptcp"
)

const pageToken = "0123456789abcdef0123456789abcdef"

// startWithPage starts a tandem that serves the page, and returns its address.
func startWithPage(t *testing.T) (*local, string) {
	t.Helper()
	l := newLocal(t, "")
	dir := filepath.Dir(l.file)
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte(pageToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	config := "admin: {socket: " + l.socket + ", listen: [\"127.0.0.1:0\"], token-file: token}\n" + gold
	if err := os.WriteFile(l.file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	l.start()
	at := regexp.MustCompile(`http://\S+`).FindString(l.banner.String())
	if at == "" {
		t.Fatalf("no address of the page:\n%s", l.banner)
	}
	return l, at
}

// stream sends to whoever connects, until the end of the test.
func stream(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(serving.Start(l, func(c net.Conn) {
		some := make([]byte, 4096)
		for {
			if _, err := c.Write(some); err != nil {
				return
			}
			select {
			case <-t.Context().Done():
				return
			case <-time.After(20 * time.Millisecond): // a rate, not a wait
			}
		}
	}))
	return l.Addr().String()
}

// streamTo reads from a server through tandem as a user; ended is closed when that
// ends.
func streamTo(t *testing.T, l *local, user, server string) (ended <-chan struct{}) {
	t.Helper()
	d, err := socks5.SOCKS5("tcp", l.status().Listeners[0].Address.String(), &socks5.Auth{User: user, Password: "secret"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := d.Dial("tcp", server)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(io.Discard, c)
	}()
	t.Cleanup(func() {
		_ = c.Close()
		<-done
	})
	return done
}

// browser is a page in Chromium.
type browser struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	problems []string // that the page had
}

func openBrowser(t *testing.T, url string) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("needs chromium: apt-get install --no-install-recommends chromium")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()),
		chromedp.WSURLReadTimeout(time.Minute), chromedp.WindowSize(1280, 1000))
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox)
	}
	allocator, closeAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, closeBrowser := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx) // waits for the process
		closeBrowser()
		closeAllocator()
	})
	b := &browser{t: t, ctx: ctx}
	chromedp.ListenTarget(ctx, func(event any) {
		b.mu.Lock()
		defer b.mu.Unlock()
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			b.problems = append(b.problems, e.ExceptionDetails.Error())
		case *log.EventEntryAdded:
			b.problems = append(b.problems, e.Entry.Text+" "+e.Entry.URL)
		}
	})
	b.do(log.Enable(), chromedp.Navigate(url))
	return b
}

func (b *browser) do(actions ...chromedp.Action) {
	b.t.Helper()
	if err := chromedp.Run(b.ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// is evaluates an expression until it is true. The policy of the page forbids
// what chromedp.Poll does.
func (b *browser) is(expression string) {
	b.t.Helper()
	labtest.Await(b.t, patience, expression, func() (yes bool) {
		b.do(chromedp.Evaluate(expression, &yes))
		return yes
	})
}

func (b *browser) screenshot(name string, width, height int64, scheme string) {
	b.t.Helper()
	var picture []byte
	b.do(emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}),
		chromedp.EmulateViewport(width, height))
	b.is(fmt.Sprintf("innerWidth === %d && document.documentElement.scrollWidth <= innerWidth", width))
	b.is("chart.viewBox.baseVal.width === chart.clientWidth")
	b.is(fmt.Sprintf("matchMedia('(prefers-color-scheme: %s)').matches", scheme))
	b.do(chromedp.FullScreenshot(&picture, 100))
	if err := os.WriteFile(filepath.Join(b.t.ArtifactDir(), name+".png"), picture, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// setOnPage has the page change an option of a connection that idles, take it
// back, and let another one end the connection.
func setOnPage(t *testing.T, b *browser, l *local) {
	server := echoServer(t)
	idle := l.tunnel(l.address("phones"), "bob", mptcp.ModeOff, server)
	row := fmt.Sprintf(`[...document.querySelectorAll("#connections tr[data-id]")].find(r => r.textContent.includes(%q))`, server)
	b.is("!!" + row)
	b.do(chromedp.Evaluate(row+`.querySelector("button.id").click()`, nil))
	form := row + `.nextElementSibling.querySelector("form.options")`
	b.is("!!" + form)
	// In one go, because the rows are made anew all the time.
	press := func(form, option, value, button string) {
		b.do(chromedp.Evaluate(fmt.Sprintf(`(form => {
			form.querySelector("select").value = %q;
			form.querySelector("input").value = %q;
			form.querySelector(%q).click();
		})(%s)`, option, value, button, form), nil))
	}
	press(form, "scheduler", "fastest", "[type=submit]")
	b.is(form + ".querySelector('[role=status]').textContent.includes('no such scheduler')")
	b.mu.Lock()
	b.problems = nil // Chromium tells of the 422
	b.mu.Unlock()
	shown := row + `.nextElementSibling.querySelector("[data-option=congestion-control]")`
	press(form, "congestion-control", "reno", "[type=submit]")
	b.is(shown + "?.textContent === 'congestion-control=reno, by operator: as asked'")
	b.screenshot("options", 1280, 1000, "light")

	// All connections of bob, of which there is another one.
	bob := `[...document.querySelectorAll("#users li")].find(li => li.firstChild.textContent === "bob")`
	b.do(chromedp.Evaluate(bob+`.querySelector("button.link").click()`, nil))
	all := bob + `.querySelector("form.options")`
	press(all, "user-timeout", "1h", "[type=submit]")
	b.is(all + `.textContent.includes("changed 0 of 2; 2: user-timeout is not in force")`)
	press(all, "congestion-control", "cubic", "[type=submit]")
	b.is(all + `.textContent.endsWith("changed 2 of 2")`)
	b.is(shown + "?.textContent === 'congestion-control=cubic, by operator: as asked'")
	b.screenshot("all", 360, 740, "light")
	b.do(chromedp.EmulateViewport(1280, 1000))
	press(form, "congestion-control", "", ".clear")
	b.is("!" + shown)
	press(form, "inactivity-timeout", "1s", "[type=submit]")
	b.is("!" + row)
	if _, err := idle.Read(make([]byte, 1)); err == nil {
		t.Error("the client of a connection that was idle too long can read")
	}
}

// TestPage uses the page as operators do.
func TestPage(t *testing.T) {
	if _, err := exec.LookPath("chromium"); err != nil {
		t.Skip("needs chromium: apt-get install --no-install-recommends chromium")
	}
	l, at := startWithPage(t)
	server := stream(t)
	ada, bob := streamTo(t, l, "ada", server), streamTo(t, l, "bob", server)
	b := openBrowser(t, at)
	rows := func(n int) string {
		return fmt.Sprintf("document.querySelectorAll('#connections tr[data-id]').length === %d", n)
	}

	b.is(rows(2))
	b.is("document.getElementById('active').textContent === '2'")
	b.is("document.querySelectorAll('#users li').length === 2")
	b.is("/policy gold.*of 1.0 MB per day/.test(document.getElementById('users').textContent)")
	// Rates need two looks: they show that it goes on by itself.
	b.is("/[1-9]/.test(document.getElementById('down').textContent)")
	b.is("/[1-9]/.test(document.querySelector('[data-path=relayed]').textContent)")
	b.is("document.querySelectorAll('#chart path').length >= 1")

	b.do(chromedp.SendKeys("#filter", "bob"))
	b.is(rows(1) + " && document.getElementById('count').textContent === '1 of 2 connections'")
	b.do(chromedp.SendKeys("#filter", " nobody"))
	b.is(rows(0))
	b.do(chromedp.Evaluate("document.getElementById('filter').value = ''; document.getElementById('filter').dispatchEvent(new Event('input'))", nil))
	b.is(rows(2))

	// One more connection comes while the page is open.
	carol := streamTo(t, l, "ada", server)
	b.is(rows(3))

	b.do(chromedp.Click("#connections tr:first-child button.id"))
	b.is("document.querySelectorAll('#connections tr.more').length === 1 && !document.querySelector('.kick')")
	b.screenshot("light", 1280, 1000, "light")
	b.screenshot("dark", 1280, 1000, "dark")
	b.screenshot("phone", 360, 740, "dark")
	b.do(chromedp.EmulateViewport(1280, 1000))

	b.do(chromedp.Click("#token-open"), chromedp.SendKeys("#token", strings.Repeat("x", 32)+"\r"))
	b.is("document.getElementById('token-problem').textContent.includes('not the token')")
	b.mu.Lock()
	b.problems = nil // Chromium tells of the 401
	b.mu.Unlock()
	b.do(chromedp.Evaluate("document.getElementById('token').value = ''", nil), chromedp.SendKeys("#token", pageToken+"\r"))
	b.is("document.getElementById('token-open').textContent.includes('in use') && !!document.querySelector('.kick')")
	setOnPage(t, b, l)
	b.do(chromedp.Click(".kick"))
	b.is(rows(2))
	labtest.Await(t, patience, "a client to notice that it was kicked", func() bool {
		select {
		case <-ada:
		case <-bob:
		case <-carol:
		default:
			return false
		}
		return true
	})
	if n := len(l.connections()); n != 2 {
		t.Errorf("%d connections are left, want 2", n)
	}
	b.mu.Lock()
	if len(b.problems) > 0 {
		t.Errorf("problems of the page: %q", b.problems)
	}
	b.mu.Unlock()
	forgets(t, b, l, at, server)
}

// forgets starts tandem anew while rows are open: other connections with their IDs are
// not open.
func forgets(t *testing.T, b *browser, l *local, at, server string) {
	t.Helper()
	b.do(chromedp.Evaluate("document.querySelectorAll('#connections button.id[aria-expanded=false]').forEach(id => id.click())", nil))
	b.is("document.querySelectorAll('#connections tr.more').length === 2")
	open := map[uint64]bool{}
	for _, c := range l.connections() {
		open[c.ID] = true
	}
	config, err := os.ReadFile(l.file)
	if err != nil {
		t.Fatal(err)
	}
	address := strings.TrimSuffix(strings.TrimPrefix(at, "http://"), "/")
	if err := os.WriteFile(l.file, []byte("drain-timeout: 1ms\n"+strings.Replace(string(config), "127.0.0.1:0", address, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	l.must("reload")
	if err := l.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	l.awaitEnd()
	l.start()
	again := func(c admin.Connection) bool { return open[c.ID] }
	for !slices.ContainsFunc(l.connections(), again) {
		streamTo(t, l, "ada", server)
	}
	for _, c := range l.connections() {
		b.is(fmt.Sprintf("document.querySelector('#connections tr[data-id=\"%d\"] button[aria-expanded=false]') !== null", c.ID))
	}
}
