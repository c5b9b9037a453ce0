// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/netip"
)

// AdminTLS protects what operators say over TCP.
type AdminTLS struct {
	// The certificate of this server, in PEM, with those between it and the
	// authority. It is read for each connection, so that a new one needs no
	// restart.
	CertFile string `yaml:"cert-file"`

	// Its key, in PEM.
	KeyFile string `yaml:"key-file"`

	// The authorities whose client certificates give the right to do everything.
	// Without a token such a certificate is needed even to connect.
	ClientCAFile string `yaml:"client-ca-file"`
}

// files lists the files of the interface for operators.
func (a *Admin) files() []fileKey {
	return []fileKey{
		{"admin.tls.cert-file", &a.TLS.CertFile}, {"admin.tls.key-file", &a.TLS.KeyFile},
		{"admin.tls.client-ca-file", &a.TLS.ClientCAFile},
	}
}

// Token returns what gives the right to do everything over TCP, "" if nothing
// does.
func (a *Admin) Token() (string, error) { return secret("", a.TokenFile) }

// adminTCP checks the addresses for operators and what protects them.
func (v *validator) adminTCP(a *Admin) {
	unique[netip.AddrPort](v, "admin.listen", a.Listen)
	for i, address := range a.Listen {
		path := fmt.Sprintf("admin.listen[%d]", i)
		v.listenAddress(path, address)
		if address.IsValid() && a.TLS.CertFile == "" && !address.Addr().Unmap().IsLoopback() {
			v.bad(path, address.String()+" without TLS", "want a loopback address, or admin.tls.cert-file and admin.tls.key-file too")
		}
	}
	if (a.TLS.CertFile == "") != (a.TLS.KeyFile == "") {
		v.bad("admin.tls.cert-file", "a certificate without a key, or a key without one", "want both cert-file and key-file")
	}
	if a.TLS.ClientCAFile != "" && a.TLS.CertFile == "" {
		v.bad("admin.tls.client-ca-file", "client certificates without TLS", "want admin.tls.cert-file and admin.tls.key-file too")
	}
	switch {
	case len(a.Listen) == 0:
		if a.TokenFile != "" || a.TLS != (AdminTLS{}) {
			v.bad("admin.listen", "no address, but what protects one", "want an address and port, such as \"127.0.0.1:8088\"")
		}
	case a.TLS.CertFile != "" && a.TokenFile == "" && a.TLS.ClientCAFile == "":
		v.bad("admin.listen", "TLS, but nothing that gives access", "want admin.token-file or admin.tls.client-ca-file too")
	}
}
