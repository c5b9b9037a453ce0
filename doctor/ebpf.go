// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"errors"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/features"
	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/bpf"
)

const groupEBPF = "eBPF"

// feature is a part of eBPF and what is lost without it.
type feature struct {
	check, lost string
	probe       func() error
}

var ebpfFeatures = []feature{
	{"sock_ops programs", "all that Tandem does with eBPF", func() error { return features.HaveProgramType(ebpf.SockOps) }},
	{"struct_ops programs", "the choice of paths for each connection", func() error { return features.HaveProgramType(ebpf.StructOps) }},
	{"ring buffers", "path managers other than the kernel's", func() error { return features.HaveMapType(ebpf.RingBuf) }},
	{"helper bpf_setsockopt", "options of single subflows", sockOpsHelper(asm.FnSetsockopt)},
	{"helper bpf_skc_to_mptcp_sock", "all that is decided by connection", sockOpsHelper(asm.FnSkcToMptcpSock)},
	{"helper bpf_load_hdr_opt", "requests of clients in TCP options", sockOpsHelper(asm.FnLoadHdrOpt)},
	{"type information (BTF)", "programs that follow this kernel's structures", haveBTF},
}

func sockOpsHelper(f asm.BuiltinFunc) func() error {
	return func() error { return features.HaveProgramHelper(ebpf.SockOps, f) }
}

func haveBTF() error {
	_, err := btf.LoadKernelSpec()
	return err
}

func ebpfRows(n *Needs) []Row {
	var rows []Row
	for _, f := range ebpfFeatures {
		err := f.probe()
		switch {
		case err == nil:
			rows = append(rows, good(groupEBPF, f.check, "yes"))
		case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
			r := unknown(groupEBPF, f.check, f.lost, err)
			r.Mend = asRoot
			rows = append(rows, r)
		default:
			rows = append(rows, Row{
				Group: groupEBPF, Check: f.check, Verdict: severity(n.EBPF), Found: err.Error(), Lost: f.lost,
				Mend: "apt-get install linux-image-amd64",
			})
		}
	}
	return append(rows, programsRow(n))
}

// programsRow loads and attaches the programs to this process for a moment.
func programsRow(n *Needs) Row {
	r := good(groupEBPF, "Tandem's programs", "load and attach")
	programs, err := bpf.Open(bpf.Options{Joins: true, Events: true, Steering: true})
	if err == nil {
		err = errors.Join(programs.Missing(), programs.Close())
	}
	if err == nil {
		return r
	}
	r.Verdict, r.Found = severity(n.EBPF), strings.ReplaceAll(err.Error(), "\n", "; ")
	r.Lost = "what the programs that are named do"
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		r.Mend = asRoot
	}
	return r
}
