// SPDX-License-Identifier: Apache-2.0

package doctor

import "context"

// Examine checks everything, one after the other. It takes some seconds for
// each link over which an aggregator does not answer. When ctx ends, what is
// left to try fails at once.
func Examine(ctx context.Context, n Needs) Report {
	var r Report
	r.add(kernelRows(&n)...)
	r.add(settingRows(&n)...)
	r.add(limitRows(&n)...)
	r.add(ownRows(&n)...)
	w, links, rows := linkRows(&n)
	r.add(rows...)
	r.add(managerRows(&n, w, links)...)
	r.add(mtuRows(ctx, &n, links)...)
	r.add(reachRows(ctx, &n, w, links)...)
	return r
}
