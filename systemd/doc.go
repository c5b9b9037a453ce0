// SPDX-License-Identifier: Apache-2.0

// Package systemd tells the service manager how the program does, and takes over
// the sockets that it has opened: sd_notify(3), sd_watchdog_enabled(3) and
// sd_listen_fds(3). Without a service manager it does nothing.
package systemd
