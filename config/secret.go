// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/tandem-gateway/tandem/config/password"
)

const (
	maxSecret = 4096 // bytes of a file that are looked at
	leastKey  = 16   // bytes of a secret that cookies are made with
)

var (
	errSecret = errors.New("want a secret in the first line")
	errHashed = errors.New("only the hash of the password is known")
)

// ReadSecret reads a file with a secret: its first line, without spaces around
// it.
func ReadSecret(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSecret))
	if err != nil {
		return "", err
	}
	line, _, _ := bytes.Cut(data, []byte("\n"))
	if line = bytes.TrimSpace(line); len(line) == 0 {
		return "", fmt.Errorf("%s: %w", path, errSecret)
	}
	return string(line), nil
}

// Secret returns the password of a user who has one in clear or in a file. That
// of one with a hash cannot be had: see Credentials.
func (u User) Secret() (string, error) {
	if u.PasswordHash != "" {
		return "", fmt.Errorf("user %s: %w", u.Name, errHashed)
	}
	return secret(u.Password, u.PasswordFile)
}

// Credentials returns the users, nil if there are none.
func (s *SOCKS5Server) Credentials() (*password.Users, error) {
	if len(s.Users) == 0 {
		return nil, nil
	}
	passwords, hashes := map[string]string{}, map[string]password.Hash{}
	for _, u := range s.Users {
		var err error
		if u.PasswordHash != "" {
			hashes[u.Name], err = password.Parse(u.PasswordHash)
		} else {
			passwords[u.Name], err = u.Secret()
		}
		if err != nil {
			return nil, fmt.Errorf("user %s: %w", u.Name, err)
		}
	}
	return password.NewUsers(passwords, hashes), nil
}

// Secret returns the password, or "" if there is none.
func (s SOCKS5Client) Secret() (string, error) { return secret(s.Password, s.PasswordFile) }

func secret(clear, file string) (string, error) {
	if file == "" {
		return clear, nil
	}
	return ReadSecret(file)
}

// fileKey is a key whose value is the path of a file.
type fileKey struct {
	path string
	file *string
}

// files lists the files that the configuration names.
func (c *Config) files() []fileKey {
	var keys []fileKey
	add := func(path string, file *string) {
		if *file != "" {
			keys = append(keys, fileKey{path, file})
		}
	}
	add("admin.token-file", &c.Admin.TokenFile)
	for i := range c.Listeners {
		path := fmt.Sprintf("listeners[%d]", i)
		if s := c.Listeners[i].SOCKS5; s != nil {
			for j := range s.Users {
				add(fmt.Sprintf("%s.socks5.users[%d].password-file", path, j), &s.Users[j].PasswordFile)
			}
		}
		if s := c.Listeners[i].Convert; s != nil {
			add(path+".convert.cookie-key-file", &s.CookieKeyFile)
		}
	}
	for i := range c.Upstreams {
		if s := c.Upstreams[i].SOCKS5; s != nil {
			add(fmt.Sprintf("upstreams[%d].socks5.password-file", i), &s.PasswordFile)
		}
	}
	return append(keys, c.Subscribers.secretFiles()...)
}

// locate takes paths of files as relative to a directory.
func (c *Config) locate(dir string) {
	for _, k := range c.files() {
		if !filepath.IsAbs(*k.file) {
			*k.file = filepath.Join(dir, *k.file)
		}
	}
	c.locateTelemetry(dir)
	c.Rights.locate(dir)
	c.Subscribers.locateQuotas(dir)
}

// files checks that the files can be read, and by whom.
func (v *validator) files(c *Config) {
	v.telemetryFiles(c)
	for _, k := range c.files() {
		secret, err := ReadSecret(*k.file)
		if err != nil {
			v.bad(k.path, err.Error(), "want a file that holds a secret in its first line")
			continue
		}
		switch isPassword := strings.HasSuffix(k.path, "password-file"); {
		case isPassword && len(secret) > longestCredential:
			v.bad(k.path, fmt.Sprintf("a password of %d bytes", len(secret)), "want at most 255, which is all that SOCKS5 can carry")
		case !isPassword && len(secret) < leastKey:
			v.bad(k.path, fmt.Sprintf("a secret of %d bytes", len(secret)), fmt.Sprintf("want at least %d, such as the output of: openssl rand -hex 32", leastKey))
		}
		if info, err := os.Stat(*k.file); err == nil && info.Mode().Perm()&0o004 != 0 {
			v.warn(k.path, *k.file+" can be read by everybody", "better give it mode 0640 or 0600")
		}
	}
}
