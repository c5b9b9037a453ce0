// SPDX-License-Identifier: Apache-2.0

// Package topology builds labs from short YAML files: hosts, links with their
// conditions, addresses and routes, and a script of changes over time.
package topology

import (
	"bytes"
	"embed"
	"fmt"
	"net/netip"
	"os"
	"path"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// File is a topology.
type File struct {
	Hosts  map[string]*Host `yaml:"hosts"`
	Links  map[string]*Link `yaml:"links"`
	Script []Step           `yaml:"script"`
}

// Host is a network namespace.
type Host struct {
	// Forward makes the host a router.
	Forward bool `yaml:"forward"`
	// Masquerade lists devices whose outgoing IPv4 packets get the device's
	// address as source (NAPT, by nftables).
	Masquerade []string `yaml:"masquerade"`
	// Addresses are put on lo.
	Addresses []netip.Prefix `yaml:"addresses"`
	Routes    []Route        `yaml:"routes"`
	Rules     []Rule         `yaml:"rules"`
	Endpoints []Endpoint     `yaml:"endpoints"`
}

// Route is an entry of a routing table.
type Route struct {
	To     Destination `yaml:"to"`
	Via    netip.Addr  `yaml:"via"`
	Dev    string      `yaml:"dev"`
	Table  int         `yaml:"table"`
	Metric int         `yaml:"metric"`
}

// Rule sends packets from an address to a routing table.
type Rule struct {
	From  netip.Prefix `yaml:"from"`
	Table int          `yaml:"table"`
}

// Endpoint is an endpoint of the MPTCP path manager.
type Endpoint struct {
	Address netip.Addr `yaml:"address"`
	Dev     string     `yaml:"dev"`
	Flags   []string   `yaml:"flags"`
}

// Link connects two hosts. On both, the device has the name of the link.
type Link struct {
	A Attachment `yaml:"a"`
	B Attachment `yaml:"b"`
	// MTU in bytes; 0 is 1500.
	MTU int `yaml:"mtu"`
	// Seed makes what is random repeatable.
	Seed uint64 `yaml:"seed"`
	// Conditions of both directions, as in a script: rate, delay and so on.
	Both map[string]string `yaml:"both"`
	// Forth and Back are those from A to B and from B to A only.
	Forth map[string]string `yaml:"forth"`
	Back  map[string]string `yaml:"back"`
}

// Attachment is one end of a link.
type Attachment struct {
	Host      string         `yaml:"host"`
	Addresses []netip.Prefix `yaml:"addresses"`
}

//go:embed presets/*.yaml
var presets embed.FS

// Presets are the names of the ready-made topologies.
func Presets() []string {
	entries, err := presets.ReadDir("presets")
	if err != nil {
		panic(err) // embedded
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".yaml"))
	}
	return names
}

// Load reads a preset or a file.
func Load(name string) (*File, error) {
	if slices.Contains(Presets(), name) {
		data, err := presets.ReadFile(path.Join("presets", name+".yaml"))
		if err != nil {
			return nil, err
		}
		return Parse(name, data)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("%w (presets are %s)", err, strings.Join(Presets(), ", "))
	}
	return Parse(name, data)
}

// Parse reads a topology. The error holds a [Problem] for each mistake.
func Parse(name string, data []byte) (*File, error) {
	var document yaml.Node
	if err := yaml.NewDecoder(bytes.NewReader(data)).Decode(&document); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	f := new(File)
	d := &decoder{file: name, places: map[any]*yaml.Node{}}
	d.value(document.Content[0], reflect.ValueOf(f).Elem())
	f.check(d)
	if err := d.err(); err != nil {
		return nil, err
	}
	return f, nil
}
