// SPDX-License-Identifier: Apache-2.0

package tproxy

import "errors"

var (
	// ErrPermission reports that CAP_NET_ADMIN is missing.
	ErrPermission = errors.New("interception needs CAP_NET_ADMIN: run as root, or grant it with AmbientCapabilities= of systemd or setcap")
	// ErrUnsupported reports that the kernel lacks a part of what is needed.
	ErrUnsupported = errors.New("not supported by this kernel")
	// ErrInUse reports that a name, a mark or a routing table is taken.
	ErrInUse = errors.New("in use")
	// ErrClosed reports the use of an Interceptor after Close.
	ErrClosed = errors.New("interceptor is closed")
	// ErrNoReturnRoute reports that answers to a client's address do not come
	// back to this machine.
	ErrNoReturnRoute = errors.New("no return route")
)
