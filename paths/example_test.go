// SPDX-License-Identifier: Apache-2.0

package paths_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/tandem-gateway/tandem/bpf"
	"github.com/tandem-gateway/tandem/paths"
)

// A client of a converter: the second link joins what is worth it, and whatever
// breaks is restored.
func Example() {
	programs, err := bpf.Open(bpf.Options{Events: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer programs.Close()
	engine, err := paths.New(paths.Options{
		Events:  programs.Events(),
		Keep:    5 * time.Minute,
		Expired: func(token uint32, last paths.Cause) { fmt.Printf("close connection %08x: %s\n", token, last) },
	})
	if errors.Is(err, paths.ErrUnavailable) {
		fmt.Println("the kernel's path manager is used:", err)
		return
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	defer engine.Close()
	manager, err := paths.Named("delaying", paths.Settings{Bytes: 1_000_000, Then: "fullmesh"})
	if err != nil {
		fmt.Println(err)
		return
	}
	policy := &paths.Policy{Name: "delaying", Manager: manager, BackupInterfaces: []string{"lte0"}, Keep: 5 * time.Minute}

	const token = 0x1234abcd // of mptcp.Status, once connected
	engine.Adopt(token, policy, true)
	// Before the connection is closed:
	engine.Forget(token)
}
