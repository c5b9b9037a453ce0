// SPDX-License-Identifier: Apache-2.0

// Package admin is the interface between a running gateway and its operators:
// HTTP with JSON over a unix socket.
//
// [Listen] opens the socket, [Server] answers on it for a [Gateway], and
// [Client] asks. All three share the types of this package, so that requests
// and answers are written down once; openapi.json, which is made from them and
// from the table of routes, is served at /v1/openapi.json.
//
// Paths begin with the version of the interface. Within a version answers may
// get more fields; whoever reads them has to ignore those it does not know.
package admin
