// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

func TestCloseReset(t *testing.T) {
	needMPTCP(t)
	for _, modes := range [][2]Mode{{ModePrefer, ModePrefer}, {ModeOff, ModeOff}, {ModePrefer, ModeOff}, {ModeOff, ModePrefer}} {
		for _, by := range []string{"client", "server"} {
			for _, before := range []string{"no traffic", "traffic", "unread data"} {
				t.Run(modes[0].String()+" to "+modes[1].String()+" by "+by+" "+before, func(t *testing.T) {
					c, s := pair(t, loopback4, modes[0], modes[1])
					closer, peer := c, s
					if by == "server" {
						closer, peer = s, c
					}
					if before != "no traffic" {
						talk(t, c, s, "there")
						talk(t, s, c, "and back")
					}
					if before == "unread data" {
						if _, err := unix.Write(peer, []byte("never read")); err != nil {
							t.Fatal(err)
						}
					}
					dup, err := unix.FcntlInt(uintptr(closer), unix.F_DUPFD_CLOEXEC, 0)
					if err != nil {
						t.Fatal(err)
					}
					// The cleanup closes the old descriptor; the socket ends here.
					if err := replace(closer); err != nil {
						t.Fatal(err)
					}
					CloseReset(dup)
					ready(t, peer, unix.POLLIN)
					if n, err := unix.Read(peer, make([]byte, 16)); !errors.Is(err, unix.ECONNRESET) {
						t.Errorf("peer read %d, %v; want ECONNRESET", n, err)
					}
					if _, err := unix.Write(peer, []byte("?")); !errors.Is(err, unix.EPIPE) {
						t.Errorf("peer wrote: %v, want EPIPE", err)
					}
				})
			}
		}
	}
}

// replace puts /dev/null in the place of fd.
func replace(fd int) error {
	null, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(null)
	return unix.Dup3(null, fd, unix.O_CLOEXEC)
}
