// SPDX-License-Identifier: Apache-2.0

// Package config reads the configuration of Tandem: one YAML file, one tree of
// Go types, every default in one place.
//
// It is strict. An unknown key, a key given twice, a value of the wrong type or
// unit, a listener that would be an open relay: each is a [Problem] with file,
// line, column, key and what is expected instead, and all of them are reported
// at once. What [Load] and [Parse] return is complete and consistent: keys that
// were not given hold their defaults, names of upstreams lead to upstreams, and
// of the sections that belong to one type of listener or upstream exactly that
// of its type is there.
//
// The package knows YAML and validation only: it opens no socket and starts
// nothing.
package config
