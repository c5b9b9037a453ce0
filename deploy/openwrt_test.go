// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// openwrt stands in for what OpenWrt has in /lib: it reads the same files.
const openwrt = `
config() { section=$2; [ -n "$2" ] || section=s$((count=${count:-0}+1)); sections="$sections $1:$section"; }
option() { eval "o_${section}_$1=\$2"; }
list() { eval "o_${section}_$1=\"\${o_${section}_$1:+\$o_${section}_$1 }\$2\""; }
config_load() { sections=; for v in $(set | sed -n 's/^\(o_[a-z0-9_]*\)=.*/\1/p'); do unset "$v"; done; . "$IPKG_INSTROOT/etc/config/$1"; }
config_get() { eval "$1=\${o_$2_$3:-\$4}"; }
config_get_bool() { eval "$1=\${o_$2_$3:-\$4}"; }
config_foreach() { for s in $sections; do [ "${s%%:*}" != "$2" ] || "$1" "${s#*:}"; done; }
config_list_foreach() { eval "values=\${o_$1_$2}"; for value in $values; do "$3" "$value"; done; }
network_get_device() { case $2 in lan) eval "$1=br-lan" ;; wan) eval "$1=eth1" ;; *) return 1 ;; esac; }
procd_open_instance() { echo open; }
procd_set_param() { echo "$*"; }
procd_close_instance() { echo close; }
procd_send_signal() { echo "signal $*"; }
logger() { :; }
`

// TestOpenWrt starts the service with the UCI configuration of the package, in
// a root of its own.
func TestOpenWrt(t *testing.T) {
	tandem := program(t)
	root := t.TempDir()
	write(t, filepath.Join(root, "lib/functions/network.sh"), openwrt)
	for from, to := range map[string]string{
		"tandem.config": "etc/config/tandem", "uci.sh": "usr/lib/tandem/uci.sh", "tandem.init": "etc/init.d/tandem",
	} {
		b, err := os.ReadFile(filepath.Join("openwrt/files", from))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(root, to), string(b))
	}
	if err := os.MkdirAll(filepath.Join(root, "usr/bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(tandem, filepath.Join(root, "usr/bin/tandem")); err != nil {
		t.Fatal(err)
	}
	call := func(function string) string {
		return run(t, "env", "IPKG_INSTROOT="+root, "sh", "-ec", `. "$IPKG_INSTROOT/etc/init.d/tandem"; `+function)
	}
	if out := call("start_service"); out != "" {
		t.Errorf("started though it is not enabled: %s", out)
	}
	uci := filepath.Join(root, "etc/config/tandem")
	b, err := os.ReadFile(uci)
	if err != nil {
		t.Fatal(err)
	}
	write(t, uci, strings.Replace(string(b), "option enabled '0'", "option enabled '1'", 1))
	out := call("start_service")
	if !strings.Contains(out, "command /usr/bin/tandem run --config ") || !strings.HasSuffix(out, "close\n") {
		t.Errorf("what procd is told: %s", out)
	}
	made, err := os.ReadFile(filepath.Join(root, "var/etc/tandem.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`interfaces: ["br-lan"]`, "ports: [80, 443]", "reject-quic: true", `servers: ["198.51.100.1:8803"]`,
		"manager: fullmesh", `interfaces: ["eth1"]`, // wanb has no device
	} {
		if !strings.Contains(string(made), want) {
			t.Errorf("no %s in\n%s", want, made)
		}
	}
	if out := call("reload_service"); out != "signal tandem * HUP\n" {
		t.Errorf("reload: %q", out)
	}
}

func TestShellScripts(t *testing.T) {
	need(t, "shellcheck")
	for _, pattern := range []string{"debian/build", "debian/p*st*", "debian/prerm", "openwrt/files/*.sh", "openwrt/files/*.init", "install-packages"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v, %v", pattern, files, err)
		}
		run(t, "shellcheck", append([]string{"--shell=sh"}, files...)...)
	}
}
