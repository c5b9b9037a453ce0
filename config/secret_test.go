// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func write(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask
		t.Fatal(err)
	}
}

func TestReadSecret(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	for content, want := range map[string]string{
		"secret":          "secret",
		"secret\n":        "secret",
		"secret\r\nmore":  "secret",
		" two words \n":   "two words",
		"":                "",
		"\n":              "",
		"\nsecond line\n": "",
	} {
		write(t, path, content, 0o600)
		got, err := ReadSecret(path)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", content, got, err, want)
		}
	}
	if _, err := ReadSecret(t.TempDir()); err == nil {
		t.Error("a directory holds a secret")
	}
}

const withFiles = `listeners:
  - name: phone
    type: socks5
    listen: ["127.0.0.1:1080"]
    upstream: tunnel
    socks5: {users: [{name: alice, password-file: alice}]}
  - name: aggregator
    type: convert
    listen: ["127.0.0.1:8803"]
    upstream: tunnel
    convert: {cookies: required, cookie-key-file: keys/cookie}
upstreams:
  - name: tunnel
    type: socks5
    servers: ["192.0.2.1:1080"]
    when-down: refuse
    socks5: {user: gateway, password-file: tunnel}
`

func TestFilesAreBesideTheConfiguration(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "keys"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "tandem.yaml"), withFiles, 0o644)
	write(t, filepath.Join(dir, "alice"), "wonderland\n", 0o600)
	write(t, filepath.Join(dir, "keys/cookie"), "0123456789abcdef\n", 0o644)
	write(t, filepath.Join(dir, "tunnel"), "light\n", 0o600)
	c, err := Load(filepath.Join(dir, "tandem.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.Listeners[0].SOCKS5.Users[0].Secret(); got != "wonderland" || err != nil {
		t.Errorf("alice: %q, %v", got, err)
	}
	if got, err := c.Upstreams[0].SOCKS5.Secret(); got != "light" || err != nil {
		t.Errorf("tunnel: %q, %v", got, err)
	}
	if got, err := ReadSecret(c.Listeners[1].Convert.CookieKeyFile); got != "0123456789abcdef" || err != nil {
		t.Errorf("cookie key: %q, %v", got, err)
	}
	if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0].String(), "can be read by everybody") {
		t.Errorf("warnings: %v, want one of the mode of the cookie key", c.Warnings)
	}
}

func TestFilesThatAreMissingOrTooShort(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "keys"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "tandem.yaml"), withFiles, 0o644)
	write(t, filepath.Join(dir, "keys/cookie"), "short\n", 0o600)
	write(t, filepath.Join(dir, "tunnel"), strings.Repeat("long", 100), 0o600)
	_, err := Load(filepath.Join(dir, "tandem.yaml"))
	var all Errors
	if !errors.As(err, &all) || len(all) != 3 {
		t.Fatalf("error %v, want three mistakes", err)
	}
	for i, want := range []string{
		"tandem.yaml:6:51: listeners[0].socks5.users[0].password-file: open " + filepath.Join(dir, "alice") + ": no such file",
		"tandem.yaml:11:51: listeners[1].convert.cookie-key-file: a secret of 5 bytes; want at least 16",
		"tandem.yaml:17:44: upstreams[0].socks5.password-file: a password of 400 bytes; want at most 255",
	} {
		if !strings.Contains(all[i].String(), want) {
			t.Errorf("mistake %d: %v, want it to say %q", i, all[i], want)
		}
	}
	if _, err := Parse("FILE", []byte(withFiles)); err != nil {
		t.Errorf("without a directory: %v, want files not to be looked for", err)
	}
}

func TestCredentials(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "bob"), "builder\n", 0o600)
	s := SOCKS5Server{Users: []User{
		{Name: "alice", Password: "wonderland"},
		{Name: "bob", PasswordFile: filepath.Join(dir, "bob")},
		{Name: "carol", PasswordHash: "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$1Z8n9aFjVQ9CEwVOsX6jKw"},
	}}
	users, err := s.Credentials()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, password string
		want           bool
	}{{"alice", "wonderland", true}, {"bob", "builder", true}, {"bob", "", false}, {"carol", "", false}, {"dave", "", false}} {
		if got := users.Valid(c.name, c.password); got != c.want {
			t.Errorf("%s, %q: %t", c.name, c.password, got)
		}
	}
	if secret, err := s.Users[2].Secret(); err == nil {
		t.Errorf("the password of a hash is %q", secret)
	}
	if users, err := (&SOCKS5Server{}).Credentials(); users != nil || err != nil {
		t.Errorf("without users: %v, %v", users, err)
	}
	s.Users[1].PasswordFile += ".none"
	if _, err := s.Credentials(); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "user bob") {
		t.Errorf("without the file: %v", err)
	}
}

func TestLoadWithoutAFile(t *testing.T) {
	if _, err := Load(filepath.Join(t.TempDir(), "none.yaml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

func TestPasswordsStayOutOfMistakes(t *testing.T) {
	_, err := Parse("FILE", []byte(`listeners:
  - {name: a, type: socks5, listen: ["127.0.0.1:1080"], socks5: {users: [{name: alice, password: 31415926}]}}
`))
	if err == nil || strings.Contains(err.Error(), "31415926") {
		t.Errorf("error %v", err)
	}
}
