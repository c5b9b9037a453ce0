// SPDX-License-Identifier: Apache-2.0

package config

import (
	_ "embed"
	"os"
	"path/filepath"
)

//go:embed default.yaml
var defaultFile []byte

// Default returns the configuration that is used when there is no file: what
// default.yaml says.
func Default() *Config {
	c, err := Parse("default.yaml", defaultFile)
	if err != nil {
		panic(err) // the file is part of the program; a test reads it
	}
	return c
}

// Load reads a configuration file. Mistakes in it are Errors. Files that it
// names are taken as relative to its directory, and must be readable.
func Load(path string) (*Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parse(path, data, filepath.Dir(path))
}

// Parse reads a configuration that is not in a file of its own. Name is what
// mistakes are reported under; those are Errors. Files that it names are
// neither looked for nor is their path changed.
func Parse(name string, data []byte) (*Config, error) {
	return parse(name, data, "")
}

func parse(name string, data []byte, dir string) (*Config, error) {
	d := newDecoder(name)
	if !d.decode(data) {
		return nil, Errors(d.problems)
	}
	c := d.root
	c.populate()
	v := &validator{file: name, places: d.places, known: d.meant}
	for _, p := range d.problems {
		v.known = append(v.known, p.Path)
	}
	v.config(c)
	if dir != "" {
		c.locate(dir)
		v.files(c)
	}
	if problems := append(d.problems, v.problems...); len(problems) > 0 {
		return nil, Errors(inOrder(problems))
	}
	c.Warnings = inOrder(v.warnings)
	return c, nil
}
