// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"errors"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// interceptionRow has the kernel check a table with the expressions that
// interception needs. Its making and its removal are one transaction, so that
// nobody ever sees it.
func interceptionRow(n *Needs) Row {
	const check = "nftables with TPROXY"
	err := tryTable()
	if err == nil {
		return good(groupKernel, check, "yes")
	}
	r := Row{
		Group: groupKernel, Check: check, Verdict: severity(n.TProxy || n.Redirect || n.Transparent), Found: err.Error(),
		Lost: "traffic cannot be intercepted, and servers cannot see addresses of clients",
		Mend: "modprobe -a nf_tables nft_tproxy nft_socket nft_redir",
	}
	if errors.Is(err, unix.EPERM) {
		r.Mend = asRoot
		r.Verdict = Unknown
	}
	return r
}

func tryTable() error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	t := c.AddTable(&nftables.Table{Name: "tandem-doctor", Family: nftables.TableFamilyINet})
	chain := c.AddChain(&nftables.Chain{Name: "try", Table: t}) // without a hook: no packet meets it
	c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: []expr.Any{
		&expr.Socket{Key: expr.SocketKeyTransparent, Register: 1},
		&expr.Immediate{Register: 1, Data: []byte{0, 1}}, // a port
		&expr.TProxy{Family: unix.NFPROTO_IPV4, RegPort: 1},
	}})
	c.DelTable(t)
	return c.Flush()
}
