// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/plural"
)

const groupLimits = "limits"

func limitRows(n *Needs) []Row { return []Row{filesRow(n), pipesRow(n), conntrackRow(n), clockRow(n)} }

// What connections and everything else take of descriptors.
const perConnection, otherFiles = 2, 100

func filesRow(n *Needs) Row {
	const check = "open files"
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return unknown(groupLimits, check, "how many connections there can be", err)
	}
	room := (max(limit.Max, otherFiles) - otherFiles) / perConnection
	r := good(groupLimits, check, "%d, enough for %s", limit.Max, plural.Of(room, "connection"))
	if needed := uint64(n.Connections); room < needed {
		files := needed*perConnection + otherFiles
		r.Verdict = Warning
		r.Lost = fmt.Sprintf("only %d of the allowed %s can be; a unit needs LimitNOFILE=%d", room, plural.Of(needed, "connection"), files)
		r.Mend = fmt.Sprintf("ulimit -n %d", files)
	}
	return r
}

// pipesRow looks at the limit that holds for all programs of a user that has
// neither CAP_SYS_RESOURCE nor CAP_SYS_ADMIN (fs/pipe.c, too_many_pipe_buffers_soft).
func pipesRow(n *Needs) Row {
	const check, most = "pipe pages", "fs.pipe-user-pages-soft"
	const lost = "bulk flows beyond it are read and written, not spliced, for more CPU time"
	limit, err := sysctlNumber(most)
	if err != nil {
		return unknown(groupLimits, check, lost, err)
	}
	if limit == 0 {
		return good(groupLimits, check, "no limit")
	}
	needed := n.PipeBytes / os.Getpagesize()
	r := good(groupLimits, check, "%d, and %d are of use", limit, needed)
	if limit < needed {
		r.Verdict, r.Lost = Warning, lost
		r.Mend = fmt.Sprintf("sysctl -w %s=%d", most, needed)
	}
	return r
}

// Conntrack is said to be nearly full at four fifths.
const fullNumerator, fullDenominator = 4, 5

func conntrackRow(n *Needs) Row {
	const check, most, now = "conntrack table", "net.netfilter.nf_conntrack_max", "net.netfilter.nf_conntrack_count"
	const lost = "new connections of everybody on this machine are dropped when it is full"
	limit, err := sysctlNumber(most)
	if errors.Is(err, fs.ErrNotExist) {
		return good(groupLimits, check, "not in use")
	}
	var used int
	if err == nil {
		used, err = sysctlNumber(now)
	}
	if err != nil {
		return unknown(groupLimits, check, lost, err)
	}
	r := good(groupLimits, check, "%d of %d entries", used, limit)
	// Both legs of a connection have an entry.
	wanted := max(2*n.Connections, 2*used)
	if used*fullDenominator > limit*fullNumerator || 2*n.Connections > limit {
		r.Verdict, r.Lost = Warning, lost
		r.Mend = fmt.Sprintf("sysctl -w %s=%d", most, wanted)
	}
	return r
}

// plausible is a time before which no clock is right.
var plausible = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// unsynchronised is STA_UNSYNC of linux/timex.h.
const unsynchronised = 0x40

func clockRow(n *Needs) Row {
	const check = "clock"
	var t unix.Timex
	if _, err := unix.Adjtimex(&t); err != nil {
		return unknown(groupLimits, check, n.Clock, err)
	}
	now := time.Now()
	r := good(groupLimits, check, "%s, synchronised", now.UTC().Format(time.RFC3339))
	switch {
	case now.Before(plausible):
		r.Verdict, r.Found = severity(n.Clock != ""), "years late: "+now.UTC().Format(time.RFC3339)
	case t.Status&unsynchronised != 0:
		r.Verdict, r.Found = Warning, now.UTC().Format(time.RFC3339)+", not synchronised"
	default:
		return r
	}
	r.Lost = "logs and records may have wrong times"
	if n.Clock != "" {
		r.Lost = n.Clock
	}
	r.Mend = "timedatectl set-ntp true"
	return r
}
