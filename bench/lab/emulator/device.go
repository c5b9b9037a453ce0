// SPDX-License-Identifier: Apache-2.0

package emulator

import (
	"fmt"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/tun"
)

// Device is one end of a link: a TUN device.
type Device struct {
	tun tun.Device
}

// Open makes a TUN device with offloads in the network namespace of the calling
// thread, down and without addresses. It disappears with Close, and with this
// process in any case.
func Open(name string) (*Device, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	req, err := unix.NewIfreq(name)
	if err == nil {
		req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR | unix.IFF_TUN_EXCL)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("create tun device %s: %w", name, err)
	}
	dev, _, err := tun.CreateUnmonitoredTUNFromFD(fd)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("create tun device %s: %w", name, err)
	}
	return &Device{tun: dev}, nil
}

// Close removes the device. The owner of a running [Emulator] closes that
// instead.
func (d *Device) Close() error { return d.tun.Close() }
