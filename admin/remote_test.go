// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const token = "0123456789abcdef0123456789abcdef"

// serveTCP answers on a loopback address until the end of the test, and returns
// the address.
func serveTCP(t *testing.T, g Gateway, a *Access) string {
	t.Helper()
	if err := a.Validate(); err != nil {
		t.Fatal(err)
	}
	l, err := ListenTCP(netip.MustParseAddrPort("127.0.0.1:0"), a)
	if err != nil {
		t.Fatal(err)
	}
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	s := NewServer(Options{Gateway: g, Page: page, Log: slog.New(slog.DiscardHandler)})
	var running sync.WaitGroup
	running.Go(func() {
		if err := s.ServeTCP(l, a); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
		running.Wait()
	})
	return l.Addr().String()
}

// asked makes a request and returns its status and error.
func asked(t *testing.T, c *http.Client, method, url string, header map[string]string) (int, Error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range header {
		r.Header.Set(name, value)
	}
	r.Host = header["Host"]
	answer, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var e Error
	_ = json.NewDecoder(answer.Body).Decode(&e)
	return answer.StatusCode, e
}

func TestAccessOverTCP(t *testing.T) {
	g := &gateway{connections: some(1)}
	at := "http://" + serveTCP(t, g, &Access{Token: token})
	bearer := map[string]string{"Authorization": "Bearer " + token}
	for name, c := range map[string]struct {
		method, path string
		header       map[string]string
		want         int
		message      string
	}{
		"anybody reads":          {method: "GET", path: "/v1/status", want: 200},
		"anybody sees the page":  {method: "GET", path: "/", want: 200},
		"nobody changes":         {method: "DELETE", path: "/v1/connections/1", want: 401, message: "without a token"},
		"a wrong token":          {method: "GET", path: "/v1/status", header: map[string]string{"Authorization": "Bearer " + token[1:]}, want: 401, message: "not the token"},
		"an empty token":         {method: "DELETE", path: "/v1/connections/1", header: map[string]string{"Authorization": "Bearer "}, want: 401, message: "not the token"},
		"another scheme":         {method: "GET", path: "/v1/status", header: map[string]string{"Authorization": "Basic " + token}, want: 401, message: "not the token"},
		"a foreign name":         {method: "GET", path: "/v1/status", header: map[string]string{"Host": "evil.example:80"}, want: 421, message: "unknown host name"},
		"a foreign page":         {method: "POST", path: "/v1/drain", header: map[string]string{"Authorization": "Bearer " + token, "Sec-Fetch-Site": "cross-site"}, want: 403, message: "another origin"},
		"an operator":            {method: "DELETE", path: "/v1/connections/77", header: bearer, want: 404, message: "no connection 77"},
		"an operator by a name":  {method: "GET", path: "/v1/status", header: map[string]string{"Authorization": "bearer " + token, "Host": "localhost:1"}, want: 200},
		"the page takes no POST": {method: "POST", path: "/", header: bearer, want: 405, message: "does not take POST"},
	} {
		t.Run(name, func(t *testing.T) {
			status, e := asked(t, http.DefaultClient, c.method, at+c.path, c.header)
			if status != c.want || !strings.Contains(e.Message, c.message) {
				t.Errorf("%d %q, want %d %q", status, e.Message, c.want, c.message)
			}
		})
	}
	if status, _ := asked(t, http.DefaultClient, "DELETE", at+"/v1/connections/1", bearer); status != 204 || len(g.connections) != 0 {
		t.Errorf("kicked with the token: %d, %d connections left", status, len(g.connections))
	}
	http.DefaultClient.CloseIdleConnections()
}

// TestNoTokenGivesNoAccess: an empty token must not match an empty header.
func TestNoTokenGivesNoAccess(t *testing.T) {
	at := "http://" + serveTCP(t, &gateway{}, &Access{})
	for _, given := range []string{"Bearer", "Bearer ", "Bearer x"} {
		if status, _ := asked(t, http.DefaultClient, "POST", at+"/v1/drain", map[string]string{"Authorization": given}); status != 401 {
			t.Errorf("%q: %d, want 401", given, status)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

// Those who may only read do not keep operators out, however many they are.
func TestGuestsLeaveRoomForOperators(t *testing.T) {
	g := &gateway{held: make(chan struct{})}
	at := "http://" + serveTCP(t, g, &Access{Token: token})
	defer http.DefaultClient.CloseIdleConnections()
	var waiting sync.WaitGroup
	for range maxGuests {
		waiting.Go(func() {
			status := http.StatusServiceUnavailable
			for status == http.StatusServiceUnavailable { // while it is who looks below that is let in
				answer, err := http.Get(at + "/v1/status")
				if err != nil {
					t.Error(err)
					return
				}
				answer.Body.Close()
				status = answer.StatusCode
			}
			if status != http.StatusOK {
				t.Errorf("a guest: %d", status)
			}
		})
	}
	defer waiting.Wait()
	defer close(g.held)
	await(t, "guests to be refused", func() bool {
		status, _ := asked(t, http.DefaultClient, "GET", at+"/livez", nil)
		return status == http.StatusServiceUnavailable
	})
	if status, e := asked(t, http.DefaultClient, "GET", at+"/livez", map[string]string{"Authorization": "Bearer " + token}); status != http.StatusOK {
		t.Errorf("an operator: %d %q", status, e.Message)
	}
}

func TestOnlyLoopbackWithoutTLS(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", "[::]:0", "192.0.2.1:0", "[::ffff:192.0.2.1]:0"} {
		if _, err := ListenTCP(netip.MustParseAddrPort(address), &Access{Token: token}); !errors.Is(err, ErrUnprotected) {
			t.Errorf("%s: %v, want %v", address, err, ErrUnprotected)
		}
	}
}

func TestListensWithPlainTCP(t *testing.T) {
	address := serveTCP(t, &gateway{}, &Access{})
	var d net.Dialer
	d.SetMultipathTCP(true)
	m, err := d.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if multipath, err := m.(*net.TCPConn).MultipathTCP(); err != nil || multipath {
		t.Errorf("MPTCP %v, error %v: want plain TCP", multipath, err)
	}
}

func TestAccessValidate(t *testing.T) {
	p := newAuthority(t)
	cert, key := p.issue(t, "gateway", x509.ExtKeyUsageServerAuth)
	for name, c := range map[string]struct {
		access Access
		want   error
	}{
		"token":             {Access{Token: token}, nil},
		"short token":       {Access{Token: token[:15]}, ErrShortToken},
		"TLS alone":         {Access{CertFile: cert, KeyFile: key}, ErrNoAccess},
		"TLS and token":     {Access{CertFile: cert, KeyFile: key, Token: token}, nil},
		"TLS and authority": {Access{CertFile: cert, KeyFile: key, ClientCAFile: p.file}, nil},
		"no such file":      {Access{CertFile: cert + "x", KeyFile: key, Token: token}, os.ErrNotExist},
	} {
		if err := c.access.Validate(); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if err := (&Access{CertFile: cert, KeyFile: key, ClientCAFile: key}).Validate(); err == nil || !strings.Contains(err.Error(), "no certificate") {
		t.Errorf("a key as authority: %v", err)
	}
}

func TestClientCertificates(t *testing.T) {
	p, other := newAuthority(t), newAuthority(t)
	cert, key := p.issue(t, "gateway", x509.ExtKeyUsageServerAuth)
	client := func(of *authority) *http.Client {
		c := &tls.Config{RootCAs: p.pool}
		if of != nil {
			own, err := tls.LoadX509KeyPair(of.issue(t, "ada", x509.ExtKeyUsageClientAuth))
			if err != nil {
				t.Fatal(err)
			}
			// Whatever the server says that it wants.
			c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &own, nil }
		}
		transport := &http.Transport{TLSClientConfig: c}
		t.Cleanup(transport.CloseIdleConnections)
		return &http.Client{Transport: transport}
	}
	t.Run("required", func(t *testing.T) {
		at := "https://" + serveTCP(t, &gateway{}, &Access{CertFile: cert, KeyFile: key, ClientCAFile: p.file})
		if status, _ := asked(t, client(p), "POST", at+"/v1/drain", nil); status != 200 {
			t.Errorf("with a certificate: %d", status)
		}
		for name, c := range map[string]*http.Client{"none": client(nil), "of another authority": client(other)} {
			if answer, err := c.Get(at + "/"); err == nil {
				answer.Body.Close()
				t.Errorf("certificate %s: answered with %s", name, answer.Status)
			}
		}
	})
	t.Run("or token", func(t *testing.T) {
		at := "https://" + serveTCP(t, &gateway{}, &Access{CertFile: cert, KeyFile: key, ClientCAFile: p.file, Token: token})
		if status, _ := asked(t, client(p), "POST", at+"/v1/drain", nil); status != 200 {
			t.Errorf("with a certificate: %d", status)
		}
		if status, _ := asked(t, client(nil), "POST", at+"/v1/drain", nil); status != 401 {
			t.Errorf("with nothing: %d", status)
		}
		if status, _ := asked(t, client(nil), "POST", at+"/v1/drain", map[string]string{"Authorization": "Bearer " + token}); status != 200 {
			t.Errorf("with the token: %d", status)
		}
	})
}

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key, file: filepath.Join(t.TempDir(), "ca.pem"), pool: x509.NewCertPool()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.pool.AddCert(a.cert)
	writePEM(t, a.file, "CERTIFICATE", der)
	return a
}

// issue writes a certificate and its key to files.
func (a *authority) issue(t *testing.T, name string, usage x509.ExtKeyUsage) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{usage}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writePEM(t, certFile, "CERTIFICATE", der)
	writePEM(t, keyFile, "PRIVATE KEY", secret)
	return certFile, keyFile
}

func writePEM(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}
