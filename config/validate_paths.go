// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// maxSubflows is how many a connection may have at all: ids have 8 bits, and 0
// is the first one's.
const maxSubflows = 255

func (v *validator) paths(path string, p *Paths) {
	v.managerKeys(path, p)
	ranged(v, join(path, "max-subflows"), p.MaxSubflows, 1, maxSubflows)
	ranged(v, join(path, "opens-per-second"), p.OpensPerSecond, 0.001, 10000)
	ranged(v, join(path, "keep"), p.Keep, 0, 24*time.Hour)
	ranged(v, join(path, "subflows"), p.Subflows, 1, maxSubflows)
	unique(v, join(path, "refuse-joins"), p.RefuseJoins)
	unique(v, join(path, "interfaces"), p.Interfaces)
	for i, name := range p.BackupInterfaces {
		if at := fmt.Sprintf("%s[%d]", join(path, "backup-interfaces"), i); len(p.Interfaces) > 0 && !slices.Contains(p.Interfaces, name) {
			v.bad(at, name+" is not among interfaces", "want one of them")
		}
	}
	for i, a := range p.Announce {
		v.connectable(fmt.Sprintf("%s[%d]", join(path, "announce"), i), a)
	}
}

// managerKeys checks the keys that belong to some managers only.
func (v *validator) managerKeys(path string, p *Paths) {
	for _, k := range []struct {
		key      string
		set      bool
		managers []PathManager
	}{
		{"subflows", p.Subflows != defaultPaths().Subflows, []PathManager{PathsNDiffPorts}},
		{"announce", len(p.Announce) > 0, []PathManager{PathsFullMesh}},
		{"max-age", p.MaxAge != 0, []PathManager{PathsRefreshing}},
		{"bytes", p.Bytes != 0, []PathManager{PathsDelaying}},
		{"after", p.After != 0, []PathManager{PathsDelaying}},
		{"below", p.Below != 0, []PathManager{PathsDelaying}},
		{"then", p.Then != "", []PathManager{PathsRefreshing, PathsDelaying}},
	} {
		used := slices.Contains(k.managers, p.Manager) || p.Then != "" && slices.Contains(k.managers, p.Then)
		if at := join(path, k.key); k.set && !used {
			v.bad(at, "not used with manager: "+string(p.Manager), "want manager: "+string(k.managers[0]))
		}
	}
	ranged(v, join(path, "max-age"), p.MaxAge, 0, math.MaxInt64)
	ranged(v, join(path, "after"), p.After, 0, math.MaxInt64)
	if p.Then == p.Manager && p.Then != "" {
		v.bad(join(path, "then"), string(p.Then)+" cannot work on itself", "want another manager")
	}
	if p.Manager == PathsDelaying && p.Bytes == 0 && p.After == 0 && p.Below == 0 {
		v.missing(join(path, "bytes"), "want a condition for more subflows: bytes, after or below")
	}
}
