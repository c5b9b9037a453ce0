// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"

	"golang.org/x/net/netutil"
)

const (
	// maxRemote bounds the connections over TCP of one listener, so that they
	// leave descriptors for clients.
	maxRemote  = 128
	leastToken = 16 // bytes
)

// Errors of Access.Validate and Access.Covers.
var (
	ErrUnprotected = errors.New("without TLS only loopback addresses can be served")
	ErrShortToken  = fmt.Errorf("a token has to be of %d bytes at least", leastToken)
	ErrNoAccess    = errors.New("over TLS there has to be a token, or an authority for client certificates")
)

// Access says who may do what over TCP. Whoever presents the token, or a client
// certificate that the authority has signed, may do everything. Others may read
// what a loopback address serves, and elsewhere nothing but the page.
type Access struct {
	// Token is that of Authorization: Bearer; empty: none.
	Token string
	// CertFile and KeyFile hold the certificate of the server in PEM; empty: no
	// TLS. They are read for each TLS connection, so that a new certificate
	// counts at once.
	CertFile, KeyFile string
	// ClientCAFile holds the authorities for client certificates; empty: none.
	ClientCAFile string
}

// Validate looks at what can be known without a connection.
func (a *Access) Validate() error {
	if a.Token != "" && len(a.Token) < leastToken {
		return ErrShortToken
	}
	if a.CertFile == "" {
		return nil
	}
	if a.Token == "" && a.ClientCAFile == "" {
		return ErrNoAccess
	}
	_, err := a.tls()
	return err
}

// tls reads the files.
func (a *Access) tls() (*tls.Config, error) {
	own, err := tls.LoadX509KeyPair(a.CertFile, a.KeyFile)
	if err != nil {
		return nil, err
	}
	c := &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{own}, NextProtos: []string{"http/1.1"}}
	if a.ClientCAFile == "" {
		return c, nil
	}
	pem, err := os.ReadFile(a.ClientCAFile)
	if err != nil {
		return nil, err
	}
	c.ClientCAs, c.ClientAuth = x509.NewCertPool(), tls.VerifyClientCertIfGiven
	if !c.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: no certificate in PEM", a.ClientCAFile)
	}
	if a.Token == "" { // nothing else gives access
		c.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return c, nil
}

// Covers says whether what is at address may be served like this: without TLS
// others must not reach it.
func (a *Access) Covers(address netip.AddrPort) error {
	if a.CertFile == "" && !address.Addr().Unmap().IsLoopback() {
		return fmt.Errorf("%v: %w", address, ErrUnprotected)
	}
	return nil
}

// ListenTCP opens a plain TCP listener where a covers it.
func ListenTCP(address netip.AddrPort, a *Access) (*net.TCPListener, error) {
	if err := a.Covers(address); err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(context.Background(), "tcp", address.String())
	if err != nil {
		return nil, err
	}
	return l.(*net.TCPListener), nil
}

// ServeTCP answers on l, which it closes in the end, until Close. What a points to
// must not change meanwhile.
func (s *Server) ServeTCP(l net.Listener, a *Access) error {
	l = netutil.LimitListener(l, maxRemote)
	if a.CertFile != "" {
		l = tls.NewListener(l, &tls.Config{
			MinVersion:         tls.VersionTLS13,
			GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return a.tls() },
		})
	}
	h := s.newHTTP(s.guard(l.Addr(), a))
	s.mu.Lock()
	if s.closing.Err() != nil {
		s.mu.Unlock()
		return l.Close()
	}
	s.remote = append(s.remote, h)
	s.mu.Unlock()
	if err := h.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// guard lets through what somebody may do over TCP.
func (s *Server) guard(at net.Addr, a *Access) http.Handler {
	local := false
	if t, ok := at.(*net.TCPAddr); ok {
		local = t.IP.IsLoopback()
	}
	// A browser sends a certificate by itself, also for the page of somebody else.
	foreign := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reads := r.Method == http.MethodGet || r.Method == http.MethodHead
		who, err := a.identify(r)
		switch {
		case err != nil:
			w.Header().Set("WWW-Authenticate", "Bearer")
			fail(w, err)
		case local && r.TLS == nil && !ownName(r.Host):
			// A foreign name that resolves to this machine makes a foreign page
			// one of ours, which may read (DNS rebinding).
			fail(w, &Error{"unknown host name " + r.Host, "use the address, or localhost", http.StatusMisdirectedRequest})
		case foreign.Check(r) != nil:
			fail(w, &Error{"a page of another origin may not ask for this", "", http.StatusForbidden})
		case who != "", local && reads, reads && !strings.HasPrefix(r.URL.Path, "/v1/"):
			s.mux.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), peerKey{}, remotePeer{who, r.RemoteAddr})))
		default:
			w.Header().Set("WWW-Authenticate", "Bearer")
			fail(w, errNotAllowed)
		}
	})
}

// errNotAllowed is for those who have shown nothing.
var errNotAllowed = &Error{"not allowed without a token or a client certificate",
	"send the token of admin.token-file as Authorization: Bearer, or use the unix socket", http.StatusUnauthorized}

// errWrongToken is for those who have shown something else.
var errWrongToken = &Error{"this is not the token", "want that of admin.token-file", http.StatusUnauthorized}

// identify returns how somebody has shown to be an operator, "" if he has not
// tried to.
func (a *Access) identify(r *http.Request) (string, error) {
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		return "certificate " + r.TLS.PeerCertificates[0].Subject.String(), nil
	}
	header := r.Header.Get("Authorization")
	if header == "" {
		return "", nil
	}
	scheme, given, _ := strings.Cut(header, " ")
	// Hashes have one length, so that not even that of the token can be measured.
	want, got := sha256.Sum256([]byte(a.Token)), sha256.Sum256([]byte(strings.TrimSpace(given)))
	same := subtle.ConstantTimeCompare(want[:], got[:]) == 1
	if !same || a.Token == "" || !strings.EqualFold(scheme, "Bearer") {
		return "", errWrongToken
	}
	return "token", nil
}

// ownName reports whether a Host header can only mean this machine.
func ownName(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil || strings.EqualFold(host, "localhost")
}

// remotePeer is who asks over TCP, and how he has shown to be an operator.
type remotePeer struct{ who, address string }
