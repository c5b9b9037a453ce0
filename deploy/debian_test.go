// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
)

var built struct {
	once sync.Once
	file string
}

// debianPackage builds the package, once for all tests.
func debianPackage(t *testing.T) string {
	t.Helper()
	need(t, "dpkg-deb")
	tandem := program(t)
	built.once.Do(func() {
		// The usual compression takes most of the time.
		run(t, "env", "DPKG_DEB_COMPRESSOR_TYPE=gzip", "DPKG_DEB_COMPRESSOR_LEVEL=1", "debian/build", tandem, "v1.2.3-4-gabc", packages)
		files, _ := filepath.Glob(filepath.Join(packages, "tandem_1.2.3+4+gabc_*.deb"))
		if len(files) != 1 {
			t.Fatalf("packages: %v", files)
		}
		built.file = files[0]
	})
	if built.file == "" {
		t.Fatal("the package was not built")
	}
	return built.file
}

// TestDebian builds the package, installs it below a directory, and purges it.
func TestDebian(t *testing.T) {
	need(t, "dpkg-deb", "systemd-sysusers")
	if os.Getuid() != 0 {
		t.Skip("needs root: dpkg sets owners")
	}
	file := debianPackage(t)
	root := filepath.Join(t.TempDir(), "root")
	for _, d := range []string{"info", "updates", "triggers"} {
		if err := os.MkdirAll(filepath.Join(root, "var/lib/dpkg", d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(root, "var/lib/dpkg/status"), "")
	write(t, filepath.Join(root, "etc/passwd"), "")
	dpkg := func(args ...string) string {
		return run(t, "dpkg", append([]string{"--root=" + root, "--force-script-chrootless", "--force-unsafe-io"}, args...)...)
	}
	dpkg("-i", file)
	for _, installed := range []string{
		"usr/sbin/tandem", "usr/share/man/man8/tandem-doctor.8.gz", "usr/share/bash-completion/completions/tandem",
		"usr/share/zsh/vendor-completions/_tandem", "usr/share/fish/vendor_completions.d/tandem.fish",
		"usr/share/doc/tandem/copyright", "usr/share/doc/tandem/examples/cpe.yaml", "usr/lib/sysctl.d/60-tandem.conf",
		"usr/share/tandem/grafana/tandem.json", "usr/lib/systemd/system/tandem.service", "usr/lib/systemd/system/tandem.socket",
	} {
		if _, err := os.Stat(filepath.Join(root, installed)); err != nil {
			t.Error(err)
		}
	}
	if diff := dpkg("-V", "tandem"); diff != "" {
		t.Errorf("files are not what the package says: %s", diff)
	}
	users, err := os.ReadFile(filepath.Join(root, "etc/passwd"))
	if err != nil || !regexp.MustCompile(`(?m)^tandem:.*:/usr/sbin/nologin$`).Match(users) {
		t.Errorf("no user tandem: %s, %v", users, err)
	}
	config := filepath.Join(root, "etc/tandem/tandem.yaml")
	if info, err := os.Stat(config); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("%v, %v; want mode 0640", info, err)
	}
	run(t, filepath.Join(root, "usr/sbin/tandem"), "check", config)

	write(t, config, "listeners: [] # mine\n")
	dpkg("-i", file)
	if kept, err := os.ReadFile(config); err != nil || string(kept) != "listeners: [] # mine\n" {
		t.Errorf("an upgrade made %q of the configuration, %v", kept, err)
	}
	dpkg("-P", "tandem")
	if _, err := os.Stat(filepath.Join(root, "etc/tandem")); !os.IsNotExist(err) {
		t.Errorf("left after the purge: %v", err)
	}
}
