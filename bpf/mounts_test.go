// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"testing"
)

func TestFindCgroup(t *testing.T) {
	const (
		unified = "29 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
		hybrid  = "30 22 0:27 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n" +
			"31 30 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n" +
			"40 30 0:37 / /sys/fs/cgroup/unified rw shared:9 master:2 - cgroup2 cgroup2 rw\n"
		hybridMembership = "9:name=systemd:/init\n4:memory:/other\n0::/services/tandem\n"
		part             = "50 22 0:26 /machines/a /mnt/cgroup rw - cgroup2 cgroup2 rw\n"
		blank            = "50 22 0:26 /machines/a\\040b /mnt/c\\134\\040d rw - cgroup2 cgroup2 rw\n"
	)
	for _, tt := range []struct {
		name, mounts, membership string
		want                     string // empty: none
	}{
		{"unified", unified, "0::/system.slice/tandem.service\n", "/sys/fs/cgroup/system.slice/tandem.service"},
		{"root", unified, "0::/\n", "/sys/fs/cgroup"},
		{"hybrid", hybrid, hybridMembership, "/sys/fs/cgroup/unified/services/tandem"},
		{"version 1 only", "31 30 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n", "4:cpu:/\n", ""},
		{"not mounted", "31 30 0:28 / /tmp rw - tmpfs tmpfs rw\n", "0::/\n", ""},
		{"part of the tree", part, "0::/machines/a/tandem\n", "/mnt/cgroup/tandem"},
		{"root of a part", part, "0::/machines/a\n", "/mnt/cgroup"},
		{"outside of the part", part, "0::/machines/ab\n", ""},
		{"second mount shows it", part + unified, "0::/x\n", "/sys/fs/cgroup/x"},
		{"outside of the namespace", unified, "0::/../x\n", ""},
		{"mount from outside of the namespace", "50 22 0:26 /../.. /mnt rw - cgroup2 cgroup2 rw\n", "0::/x\n", ""},
		{"escapes", blank, "0::/machines/a b/x\n", "/mnt/c\\ d/x"},
		{"colon in the name", unified, "0::/a::b\n", "/sys/fs/cgroup/a::b"},
		{"broken lines", "x\n - cgroup2 \n1 2 3 4 - cgroup2 cgroup2 rw\n", "0::/\n", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := findCgroup(tt.mounts, tt.membership)
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if (tt.want == "") != errors.Is(err, errNoCgroup2) {
				t.Errorf("error %v", err)
			}
		})
	}
}
