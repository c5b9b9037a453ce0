// SPDX-License-Identifier: Apache-2.0

package apps

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"github.com/tandem-gateway/tandem/bench/lab"
)

// NginxConfig describes a web server that serves one file.
type NginxConfig struct {
	// Listen is where it listens, at least one address.
	Listen []netip.AddrPort
	// Size of the file in bytes, and the seed of its content.
	Size int64
	Seed uint64
	// ProxyProtocol makes it demand a PROXY protocol header, version 1 or 2, on
	// every connection.
	ProxyProtocol bool
	// Dir is an empty directory for its configuration, file and logs.
	Dir string
}

// Nginx is a running web server.
type Nginx struct {
	*lab.Process
	// SHA256 of the file, in hexadecimal, and its size.
	SHA256 string
	Size   int64

	dir    string
	stderr *Log
}

// startTimeout bounds the wait for a server to listen.
const startTimeout = 30 * time.Second

// The workers run as root, because test directories are closed to others.
var nginxConf = template.Must(template.New("nginx.conf").Parse(`daemon off;
user root;
worker_processes 1;
pid nginx.pid;
error_log stderr warn;
events { worker_connections 4096; }
http {
	log_format lab '$remote_addr $remote_port "$request" $status $body_bytes_sent "$proxy_protocol_addr" $proxy_protocol_port';
	access_log access.log lab;
	client_body_temp_path tmp;
	proxy_temp_path tmp;
	fastcgi_temp_path tmp;
	uwsgi_temp_path tmp;
	scgi_temp_path tmp;
	sendfile on;
	default_type application/octet-stream;
	server {
{{- range .Listen}}
		listen {{.}}{{if $.ProxyProtocol}} proxy_protocol{{end}};
{{- end}}
		root www;
	}
}
`))

// StartNginx starts nginx on a host and returns when it listens on every
// address. It ends with ctx, with Stop, or with the lab.
func StartNginx(ctx context.Context, h *lab.Host, cfg NginxConfig) (*Nginx, error) {
	n := &Nginx{Size: cfg.Size, dir: cfg.Dir, stderr: new(Log)}
	if err := n.prepare(cfg); err != nil {
		return nil, fmt.Errorf("prepare nginx on %q: %w", h.Name(), err)
	}
	// Debian has it in /usr/sbin, which is not in everybody's PATH.
	n.Process = h.Command(ctx, nginxPath(), "-p", cfg.Dir+"/", "-c", "nginx.conf", "-e", "stderr")
	n.Stdout, n.Stderr = n.stderr, n.stderr
	if err := n.Start(); err != nil {
		return nil, err
	}
	for _, addr := range cfg.Listen {
		if err := AwaitListener(ctx, h, n.Process, addr); err != nil {
			n.Stop()
			return nil, fmt.Errorf("nginx on %q: %w: %s", h.Name(), err, n.stderr)
		}
	}
	return n, nil
}

func nginxPath() string {
	const sbin = "/usr/sbin/nginx"
	if _, err := os.Stat(sbin); err == nil {
		return sbin
	}
	return "nginx"
}

func (n *Nginx) prepare(cfg NginxConfig) error {
	for _, dir := range []string{"www", "tmp"} {
		if err := os.MkdirAll(filepath.Join(cfg.Dir, dir), 0o755); err != nil {
			return err
		}
	}
	var err error
	if n.SHA256, err = WriteData(filepath.Join(cfg.Dir, "www", "data"), cfg.Size, cfg.Seed); err != nil {
		return err
	}
	var conf bytes.Buffer
	if err := nginxConf.Execute(&conf, cfg); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(cfg.Dir, "nginx.conf"), conf.Bytes(), 0o644)
}

// URL is where the file is, on one of the addresses that the server listens on.
func (n *Nginx) URL(addr netip.AddrPort) string { return "http://" + addr.String() + "/data" }

// Request is a line of the access log. It is written when the server has sent
// the answer, which may be after the client has read it.
type Request struct {
	// Remote is the TCP peer.
	Remote netip.AddrPort
	// Line is the request line, such as "GET /data HTTP/1.1".
	Line   string
	Status int
	// Bytes of the body that were sent.
	Bytes int64
	// Proxied is the source of the PROXY header, invalid without one.
	Proxied netip.AddrPort
}

// Requests reads the access log.
func (n *Nginx) Requests() ([]Request, error) {
	text, err := os.ReadFile(filepath.Join(n.dir, "access.log"))
	if err != nil {
		return nil, err
	}
	var requests []Request
	for line := range strings.Lines(string(text)) {
		if !strings.HasSuffix(line, "\n") {
			break // still being written
		}
		r, err := parseRequest(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return nil, fmt.Errorf("access log line %q: %w", line, err)
		}
		requests = append(requests, r)
	}
	return requests, nil
}

func parseRequest(line string) (Request, error) {
	var addr, proxied, proxiedPort string
	var port uint16
	var r Request
	if _, err := fmt.Sscanf(line, "%s %d %q %d %d %q %s", &addr, &port, &r.Line, &r.Status, &r.Bytes, &proxied, &proxiedPort); err != nil {
		return Request{}, err
	}
	remote, err := netip.ParseAddr(addr)
	if err != nil {
		return Request{}, err
	}
	r.Remote = netip.AddrPortFrom(remote, port)
	if proxied != "" && proxied != "-" {
		from, err := netip.ParseAddr(proxied)
		if err != nil {
			return Request{}, err
		}
		var fromPort uint16
		if _, err := fmt.Sscan(proxiedPort, &fromPort); err != nil {
			return Request{}, err
		}
		r.Proxied = netip.AddrPortFrom(from, fromPort)
	}
	return r, nil
}
