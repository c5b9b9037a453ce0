// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"
)

// A walk visits what is to be listed, and reports whether there is more.
type walk[T any] func(visit func(*T) error) (more bool, err error)

type compare[T any] func(a, b *T) int

func by[T any, K cmp.Ordered](key func(*T) K) compare[T] {
	return func(a, b *T) int { return cmp.Compare(key(a), key(b)) }
}

// sorted makes a walk one in an order, of the last ones up to a limit if that is
// not 0.
func (w walk[T]) sorted(order compare[T], limit int) walk[T] {
	if order == nil {
		return w
	}
	return func(visit func(*T) error) (bool, error) {
		var all []*T
		more, err := w(func(x *T) error {
			all = append(all, x)
			return nil
		})
		if err != nil {
			return more, err
		}
		slices.SortStableFunc(all, order)
		if limit > 0 && len(all) > limit {
			all, more = all[len(all)-limit:], true
		}
		for _, x := range all {
			if err := visit(x); err != nil {
				return more, err
			}
		}
		return more, nil
	}
}

// printList prints a list in an order, and says whether a limit has cut it.
func printList[T any](cmd *cobra.Command, show func(io.Writer, walk[T]) (more bool, err error), order compare[T], limit int, all walk[T]) error {
	out := bufio.NewWriter(cmd.OutOrStdout())
	more, err := show(out, all.sorted(order, limit))
	if err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return err
	}
	if more {
		fmt.Fprintf(cmd.ErrOrStderr(), "there are more than %d\n", limit)
	}
	return nil
}

// printLines prints a list as JSON, an object per line.
func printLines[T any](w io.Writer, all walk[T]) (more bool, err error) {
	e := json.NewEncoder(w)
	return all(func(x *T) error { return e.Encode(x) })
}
