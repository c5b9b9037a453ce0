// SPDX-License-Identifier: Apache-2.0

package peers

import (
	"fmt"
	"strconv"
)

// maxTunnels is what relays are configured for: two descriptors each within
// 20,000, and some to spare.
const maxTunnels = 9900

func haproxy(s Setup) (command, error) {
	program, err := find("haproxy", "haproxy")
	if err != nil {
		return command{}, err
	}
	bind := s.Listen.String()
	if s.MPTCP {
		bind = "fd@3"
	}
	return command{
		program: program,
		args:    []string{"-db", "-f", "haproxy.cfg"},
		inherit: s.MPTCP,
		files: map[string]string{"haproxy.cfg": lines(
			"global",
			when(!s.Bulk, fmt.Sprintf("	maxconn %d", maxTunnels)),
			when(s.Bulk, "	maxconn 1000\n	tune.pipesize 1048576"),
			"defaults",
			"	mode tcp",
			"	timeout connect 10s",
			"	timeout client 1h",
			"	timeout server 1h",
			when(s.Bulk, "	option splice-request"),
			when(s.Bulk, "	option splice-response"),
			"listen relay",
			"	bind "+bind,
			"	server source "+s.Target.String(),
		)},
	}, nil
}

// nginxStream is where Debian puts the module.
const nginxStream = "/usr/lib/nginx/modules/ngx_stream_module.so"

func nginx(s Setup) (command, error) {
	program, err := find("nginx", "nginx-light, libnginx-mod-stream")
	if err != nil {
		return command{}, err
	}
	c := command{program: program, args: []string{"-p", s.Dir, "-c", "nginx.conf", "-e", "stderr"}, inherit: s.MPTCP}
	if s.MPTCP {
		// How nginx hands its listening sockets to its successor when its
		// binary is replaced.
		c.env = []string{"NGINX=3;"}
	}
	c.files = map[string]string{"nginx.conf": lines(
		"daemon off;",
		"user root;",
		"pid nginx.pid;",
		"error_log stderr crit;",
		"load_module "+nginxStream+";",
		"worker_processes auto;",
		"worker_rlimit_nofile 20000;",
		"events { worker_connections 20000; }",
		"stream {",
		"	proxy_timeout 1h;",
		"	proxy_half_close on;",
		when(s.Bulk, "	proxy_buffer_size 256k;"),
		"	server {",
		"		listen "+s.Listen.String()+when(!s.MPTCP, " reuseport")+";",
		"		proxy_pass "+s.Target.String()+";",
		"	}",
		"}",
	)}
	return c, nil
}

func microsocks(s Setup) (command, error) {
	program, err := find("microsocks", "microsocks")
	c := command{program: program, args: []string{
		"-i", s.Listen.Addr().String(), "-p", strconv.Itoa(int(s.Listen.Port())),
	}}
	if s.MPTCP {
		return mptcpize(c, err)
	}
	return c, err
}

func dante(s Setup) (command, error) {
	program, err := find("danted", "dante-server")
	c := command{
		program: program,
		args:    []string{"-f", "danted.conf", "-p", "danted.pid"},
		files: map[string]string{"danted.conf": lines(
			"errorlog: stderr",
			fmt.Sprintf("internal: %s port = %d", s.Listen.Addr(), s.Listen.Port()),
			"external: "+s.Listen.Addr().String(),
			"clientmethod: none",
			"socksmethod: none",
			"user.privileged: root",
			"user.unprivileged: root",
			"client pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }",
			"socks pass { from: 0.0.0.0/0 to: 0.0.0.0/0 command: connect }",
		)},
	}
	if s.MPTCP {
		return mptcpize(c, err)
	}
	return c, err
}
