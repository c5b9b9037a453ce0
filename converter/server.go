// SPDX-License-Identifier: Apache-2.0

package converter

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/tandem-gateway/tandem/converter/wire"
	"github.com/tandem-gateway/tandem/options"
)

// ServerConfig is what a Transport Converter offers. The zero value serves
// everybody, without TCP options on request.
type ServerConfig struct {
	// Cookies makes clients prove their address; nil does not.
	Cookies *CookieJar
	// AllowLoopback accepts loopback targets. RFC 8803 forbids them: for tests.
	AllowLoopback bool
	// Supported are the kinds of TCP options that this kernel offers to
	// servers. Kinds that RFC 8803 keeps out of the list are left out of it:
	// 0, 1 and 2, SACK (5) and TCP-AO (29).
	Supported []uint8
	// Copied are those of Supported whose value can be taken from the client.
	// A client that gives a value for another kind is told that the option is
	// unsupported; see Request.Options for the exceptions.
	Copied []uint8
	// HideSYNACK keeps to itself which TCP options servers answered with.
	HideSYNACK bool
	// PrivateTypes are the TLVs for private use that the caller understands.
	// All others are refused.
	PrivateTypes []wire.Type
	// Redundancy understands wire.TypeRedundancy, with which connections become
	// legs of a stream.
	Redundancy bool
	// Choices understands TypeChoices, with which clients ask for options of
	// their connections. Without it they are told that it is unsupported.
	Choices bool
}

// Server is the converter's side of the protocol.
type Server struct {
	cookies       *CookieJar
	allowLoopback bool
	supported     []uint8
	copied        []uint8
	hideSYNACK    bool
	private       []wire.Type
	redundancy    bool
	choices       bool
}

// NewServer returns a Server for c.
func NewServer(c ServerConfig) *Server {
	s := &Server{
		cookies:       c.Cookies,
		allowLoopback: c.AllowLoopback,
		supported:     make([]uint8, 0, len(c.Supported)),
		copied:        slices.Clone(c.Copied),
		hideSYNACK:    c.HideSYNACK,
		private:       slices.Clone(c.PrivateTypes),
		redundancy:    c.Redundancy,
		choices:       c.Choices,
	}
	if c.Choices && !slices.Contains(s.private, TypeChoices) {
		s.private = append(s.private, TypeChoices)
	}
	for _, k := range c.Supported {
		if mayAnnounce(k) && !slices.Contains(s.supported, k) {
			s.supported = append(s.supported, k)
		}
	}
	return s
}

// Request is what a client asks for.
type Request struct {
	// Target is the server to connect to. It is invalid when Info is set.
	Target netip.AddrPort
	// Info says that the client asks what the converter supports and nothing
	// else: send Answer, then close.
	Info   bool
	Answer []byte
	// Leg is set when the connection is to be a leg of a stream, and nothing
	// else is: see Accept.
	Leg *wire.Redundancy
	// Supported says that the client asks it along with the connection; hand
	// it to Success.
	Supported bool
	// Options are the TCP options that the client wants offered to the server,
	// all supported. Left out are those that it has no say in: Maximum Segment
	// Size, Window Scale and SACK. Values of SACK Permitted, Timestamps and
	// Multipath TCP, which only the stack that opens the connection can
	// choose, are to be ignored. No other option is to be offered beyond what
	// local policy offers anyway, lest our SYN be longer than the client's.
	// Values alias the input of Read.
	Options []wire.TCPOption
	// ProbeMPTCP says that Options holds Multipath TCP: the client wants to
	// know whether the server speaks it.
	ProbeMPTCP bool
	// FastOpen says that Options holds Fast Open. FastOpenCookie is the cookie
	// for the server, empty when one is to be asked for. It aliases the input.
	FastOpen       bool
	FastOpenCookie []byte
	// Private are the private TLVs, all among ServerConfig.PrivateTypes. They
	// alias the input.
	Private []wire.Private
	// Chooses says that the client asks for the options of Choices; hand what
	// it is granted to Success.
	Chooses bool
	Choices options.Request
}

// Read looks at all bytes received from client so far. It returns the request
// and how many bytes it occupies: those after it are for the server. The error
// is wire.ErrShort when more bytes are needed, or a *Refusal.
func (s *Server) Read(client netip.Addr, in []byte, now time.Time) (req Request, n int, err error) {
	m, n, err := wire.Parse(in)
	var pe *wire.ParseError
	switch {
	case err == nil:
	case errors.Is(err, wire.ErrShort):
		return Request{}, 0, wire.ErrShort
	case errors.As(err, &pe):
		if pe.Code != wire.UnsupportedMessage {
			return Request{}, 0, refuse(&wire.Error{Code: pe.Code, Value: pe.Value}, pe)
		}
	default:
		// Not Convert: the answer would mean nothing to the peer.
		return Request{}, 0, &Refusal{Code: wire.MalformedMessage, Err: err}
	}
	if err := s.check(client, &m, pe, now); err != nil {
		return Request{}, 0, err
	}
	if req, err = s.request(&m); err != nil {
		return Request{}, 0, err
	}
	return req, n, nil
}

// check validates everything but the TCP options: first the message, which
// costs nothing, then the client.
func (s *Server) check(client netip.Addr, m *wire.Message, unknown *wire.ParseError, now time.Time) error {
	if m.Error != nil {
		// Errors are not answered, or two peers might never stop.
		return &Refusal{
			Code: wire.MalformedMessage,
			Err:  newError(m.Error, false),
		}
	}
	if err := s.checkTypes(m, unknown); err != nil {
		return err
	}
	if leg, err := s.takeRedundancy(m); err != nil {
		return err
	} else if leg == nil && !m.Info && m.Connect == nil {
		return refuse(&wire.Error{Code: wire.MalformedMessage}, errNoRequest)
	}
	if c := m.Connect; c != nil {
		if err := checkTarget(netip.AddrPortFrom(c.Addr, c.Port), s.allowLoopback); err != nil {
			return refuse(&wire.Error{Code: wire.MalformedMessage}, err)
		}
	}
	return s.checkCookie(client, m.Cookie, now)
}

// checkTypes refuses TLVs that nobody knows, that only converters send, and
// private ones without a meaning here, naming all of them.
func (s *Server) checkTypes(m *wire.Message, unknown *wire.ParseError) error {
	var types []byte
	if unknown != nil {
		types = unknown.Value
	}
	if m.ExtendedTCPHeader != nil {
		types = append(types, byte(wire.TypeExtendedTCPHeader))
	}
	if m.Supported != nil {
		types = append(types, byte(wire.TypeSupported))
	}
	for _, p := range m.Private {
		if !slices.Contains(s.private, p.Type) && !(s.redundancy && p.Type == wire.TypeRedundancy) {
			types = append(types, byte(p.Type))
		}
	}
	if len(types) == 0 {
		return nil
	}
	return refuse(&wire.Error{Code: wire.UnsupportedMessage, Value: types}, unsupportedTypesError(types))
}

func (s *Server) checkCookie(client netip.Addr, cookie []byte, now time.Time) error {
	switch {
	case s.cookies == nil:
		return nil
	case cookie == nil:
		return refuse(wire.MissingCookieError(s.cookies.Issue(client, now)), errMissingCookie)
	case !s.cookies.Valid(client, cookie, now):
		return refuse(&wire.Error{Code: wire.NotAuthorized}, errInvalidCookie)
	}
	return nil
}

func (s *Server) request(m *wire.Message) (Request, error) {
	req := Request{Private: m.Private}
	if m.Connect == nil {
		if req.Leg, _ = s.takeRedundancy(m); req.Leg != nil {
			return req, nil
		}
		req.Info = true
		req.Answer = encode(nil, &wire.Message{Supported: s.supported})
		return req, nil
	}
	req.Target = netip.AddrPortFrom(m.Connect.Addr, m.Connect.Port)
	req.Supported = m.Info
	if err := s.takeOptions(&req, m.Connect.Options); err != nil {
		return Request{}, err
	}
	if err := s.takeChoices(&req); err != nil {
		return Request{}, err
	}
	return req, nil
}
