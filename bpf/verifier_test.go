// SPDX-License-Identifier: Apache-2.0

package bpf

import "testing"

// TestVerifierHasRoom: the kernel refuses a program of which it has to look at a
// million instructions (BPF_COMPLEXITY_LIMIT_INSNS in include/linux/bpf.h), each
// counted as often as it is reached in another state. Other kernels count a bit
// differently, so that much less is allowed here.
func TestVerifierHasRoom(t *testing.T) {
	const most = 250_000
	p := open(t, Options{Joins: true, Events: true, Steering: true})
	for _, c := range p.running {
		for name, program := range c.programs() {
			info, err := program.Info()
			if err != nil {
				t.Fatal(err)
			}
			n, ok := info.VerifiedInstructions()
			if !ok {
				t.Skip("the kernel does not tell how many instructions it has looked at")
			}
			t.Logf("%s: %d", name, n)
			if n > most {
				t.Errorf("%s takes the verifier %d instructions, more than %d", name, n, most)
			}
		}
	}
}
