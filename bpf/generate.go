// SPDX-License-Identifier: Apache-2.0

package bpf

// The compiler is a fixed version, so that whoever generates gets the same
// objects. TANDEM_BPF_OUTPUT, when set, is where they go instead of here.

//go:generate go tool bpf2go -cc clang-14 -target bpfel,bpfeb -output-dir $TANDEM_BPF_OUTPUT -cflags "-mcpu=v3 -Wall -Wextra -Wno-unused-parameter -Werror -I/usr/include/x86_64-linux-gnu -I/usr/include/aarch64-linux-gnu" synack kernel/synack.bpf.c
//go:generate go tool bpf2go -cc clang-14 -target bpfel,bpfeb -output-dir $TANDEM_BPF_OUTPUT -cflags "-mcpu=v3 -Wall -Wextra -Wno-unused-parameter -Werror -I/usr/include/x86_64-linux-gnu -I/usr/include/aarch64-linux-gnu" -type event -type kind -type reason events kernel/events.bpf.c
//go:generate go tool bpf2go -cc clang-14 -target bpfel,bpfeb -output-dir $TANDEM_BPF_OUTPUT -cflags "-mcpu=v3 -Wall -Wextra -Wno-unused-parameter -Werror -I/usr/include/x86_64-linux-gnu -I/usr/include/aarch64-linux-gnu" joins kernel/joins.bpf.c
//go:generate go tool bpf2go -cc clang-14 -target bpfel,bpfeb -output-dir $TANDEM_BPF_OUTPUT -cflags "-mcpu=v3 -Wall -Wextra -Wno-unused-parameter -Werror -I/usr/include/x86_64-linux-gnu -I/usr/include/aarch64-linux-gnu" -no-global-types -type policy -type connection -type scheduler -type family -type subflow_options -type option -type request -type requests -type asked scheduler kernel/scheduler.bpf.c
