// SPDX-License-Identifier: Apache-2.0

// Package apps runs stock programs on the hosts of a lab: nginx as a web server
// and curl as its client.
package apps
