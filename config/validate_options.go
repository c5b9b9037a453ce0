// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tandem-gateway/tandem/options"
)

func (v *validator) options(path string, o *ListenerOptions) {
	if s, ok := optionValues(v, join(path, "defaults"), o.Defaults); ok {
		v.ownChoice(join(path, "defaults"), s)
	}
	optionValues(v, join(path, "caps"), o.Caps)
	unique(v, join(path, "from"), o.From)
	unique(v, join(path, "trusted"), o.Trusted)
	if len(o.Accept) == 0 {
		for key, given := range map[string]bool{
			"from": len(o.From) > 0, "caps": len(o.Caps) > 0, "forbid": len(o.Forbid) > 0,
			"congestion-controls": len(o.CongestionControls) > 0, "trusted": len(o.Trusted) > 0,
		} {
			if at := join(path, key); given {
				v.bad(at, "clients may not ask", "want the ways in which they may, in "+join(path, "accept"))
			}
		}
	}
	v.congestionControls(join(path, "congestion-controls"), o.CongestionControls)
}

func (v *validator) congestionControls(path string, names []string) {
	for i, name := range names {
		if !slices.Contains(options.CongestionControls(), name) {
			v.bad(fmt.Sprintf("%s[%d]", path, i), quote(name), choose(name, options.CongestionControls()))
		}
	}
}

func (v *validator) ask(path string, u *Upstream) {
	if u.Type == UpstreamSOCKS5 && u.Ask.By == AskByTCPOption {
		v.bad(join(path, "by"), "servers of type socks5 are asked in the user name", "want request")
	}
	optionValues(v, join(path, "options"), u.Ask.Options)
}

// optionValues checks values and returns them.
func optionValues[Name ~string](v *validator, path string, section map[Name]OptionValue) (s options.Set, ok bool) {
	ok = true
	for option, text := range given(section) {
		value, err := option.Parse(text)
		if err != nil {
			wrong, want, _ := strings.Cut(err.Error(), "; ")
			v.bad(join(path, option.String()), quote(text)+": "+wrong, want)
			ok = false
			continue
		}
		s, _ = s.With(option, value)
	}
	return s, ok
}

// ownChoice refuses what would stall connections.
func (v *validator) ownChoice(path string, s options.Set) {
	if err := options.CheckOwn(s); err != nil {
		name, wrong, _ := strings.Cut(err.Error(), ": ")
		v.bad(join(path, name), wrong, "want a rate that lets the connection live")
	}
}
