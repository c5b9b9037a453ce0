// SPDX-License-Identifier: Apache-2.0

package peers

import (
	"encoding/json"
	"fmt"
)

// goTCP keeps Go's listeners from being MPTCP ones without being asked.
const goTCP = "GODEBUG=multipathtcp=0"

func (t Tools) armon(s Setup) (command, error) {
	program, err := t.built("armon")
	return command{
		program: program,
		args:    []string{"-listen", s.Listen.String(), fmt.Sprintf("-mptcp=%t", s.MPTCP)},
		env:     []string{goTCP},
	}, err
}

// object is a JSON object.
type object = map[string]any

func (t Tools) singBox(s Setup) (command, error) {
	program, err := t.built("sing-box")
	if err != nil {
		return command{}, err
	}
	return t.withJSON(program, "sing-box.json", object{
		"log": object{"disabled": true},
		"inbounds": []object{{
			"type": "socks", "listen": s.Listen.Addr(), "listen_port": s.Listen.Port(), "tcp_multi_path": s.MPTCP,
		}},
		"outbounds": []object{{"type": "direct"}},
	}, "run", "-c", "sing-box.json")
}

func (t Tools) xray(s Setup) (command, error) {
	program, err := t.built("xray")
	if err != nil {
		return command{}, err
	}
	return t.withJSON(program, "xray.json", object{
		"log": object{"access": "none", "error": "none", "loglevel": "none"},
		"inbounds": []object{{
			"protocol": "socks", "listen": s.Listen.Addr(), "port": s.Listen.Port(),
			"settings":       object{"auth": "noauth"},
			"streamSettings": object{"sockopt": object{"tcpMptcp": s.MPTCP}},
		}},
		// Documented as needed by some versions to reach private addresses.
		"outbounds": []object{{"protocol": "freedom"}},
	}, "run", "-c", "xray.json")
}

func (t Tools) withJSON(program, file string, content object, args ...string) (command, error) {
	text, err := json.MarshalIndent(content, "", "  ")
	if err != nil {
		return command{}, err
	}
	return command{program: program, args: args, env: []string{goTCP}, files: map[string]string{file: string(text)}}, nil
}
