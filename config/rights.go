// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"path/filepath"
	"regexp"
)

// Rights are those that Tandem keeps once it is started. A reload does not change
// them.
type Rights struct {
	// User, by name or number, that Tandem becomes if root starts it; the one who
	// starts it if not given. Directories of sockets, records and quotas that are
	// not there are made for that user. An upgrade keeps the user.
	User string `yaml:"user"`

	// Gives up all capabilities but those that are of use (`docs/security.md`), and
	// access to files other than those of the system, of the configuration, and
	// those that it names, each with all that is in its directory.
	Sandbox bool `yaml:"sandbox"`

	// Directories or files that may be read besides, such as those that a later
	// configuration names.
	Read []string `yaml:"read"`

	// Directories or files that may be written besides.
	Write []string `yaml:"write"`
}

var userForm = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}$`)

func (v *validator) rights(r *Rights) {
	if r.User != "" && !userForm.MatchString(r.User) {
		v.bad("rights.user", quote(r.User), "want the name or the number of a user")
	}
	for name, paths := range map[string][]string{"rights.read": r.Read, "rights.write": r.Write} {
		unique[string](v, name, paths)
		for i, path := range paths {
			if path == "" {
				v.bad(fmt.Sprintf("%s[%d]", name, i), "no path", "want a directory or a file")
			}
		}
		if len(paths) > 0 && !r.Sandbox {
			v.warn(name, "exceptions from rights.sandbox, which is off", "want them only where it is on")
		}
	}
}

// locate takes paths as relative to a directory.
func (r *Rights) locate(dir string) {
	for _, paths := range [][]string{r.Read, r.Write} {
		for i, path := range paths {
			if !filepath.IsAbs(path) {
				paths[i] = filepath.Join(dir, path)
			}
		}
	}
}

// Files lists the files that the configuration names: those that are read, and
// those that are written.
func (c *Config) Files() (read, written []string) {
	for _, k := range append(c.files(), c.read()...) {
		if *k.file != "" {
			read = append(read, *k.file)
		}
	}
	for _, file := range []string{c.Records.File.Path, c.Subscribers.QuotaFile} {
		if file != "" {
			written = append(written, file)
		}
	}
	return read, written
}
