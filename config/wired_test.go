// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"fmt"
	"go/types"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"golang.org/x/tools/go/packages"
)

// readByConfig are the fields that this package itself turns into what the
// program reads.
var readByConfig = []string{
	"Config.Timeouts",                                         // the defaults of Listener.Timeouts
	"User.Password", "User.PasswordFile", "User.PasswordHash", // User.Secret
	"Subscriber.Name", "Subscriber.Password", "Subscriber.PasswordFile", "Subscriber.PasswordHash", "Subscriber.Sources", "Subscriber.Policy", // Subscriber.Known
	"RADIUSServer.Secret", "RADIUSServer.SecretFile", "RADIUSClient.Secret", "RADIUSClient.SecretFile", // Key
	// ListenerOptions.Policy
	"ListenerOptions.Defaults", "ListenerOptions.Accept", "ListenerOptions.From", "ListenerOptions.Caps", "ListenerOptions.Forbid",
	"ListenerOptions.CongestionControls", "ListenerOptions.Trusted",
	"SubscriberOptions.Caps", "SubscriberOptions.Forbid", "SubscriberOptions.CongestionControls", // SubscriberOptions.Bounds
	"Admin.TokenFile",                                    // Admin.Token
	"SOCKS5Client.Password", "SOCKS5Client.PasswordFile", // SOCKS5Client.Secret
}

// TestKeysAreUsed finds keys that are parsed and checked and then forgotten:
// each has to be read by the program that the configuration is for.
func TestKeysAreUsed(t *testing.T) {
	loaded, err := packages.Load(&packages.Config{
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedImports | packages.NeedTypes | packages.NeedTypesInfo | packages.NeedSyntax,
		Dir:  "..",
	}, "./config", "./cmd/tandem")
	if err != nil || len(loaded) != 2 {
		t.Fatalf("%d packages, error %v", len(loaded), err)
	}
	// A field is known by its place, which is the same read from source and
	// from a compiled package.
	place := func(p *packages.Package, o types.Object) string {
		at := p.Fset.Position(o.Pos())
		return fmt.Sprintf("%s:%d", filepath.Base(at.Filename), at.Line)
	}
	unread := map[string]string{}
	for _, p := range loaded {
		if len(p.Errors) > 0 {
			t.Fatal(p.Errors[0])
		}
		if p.Name != "config" {
			continue
		}
		for _, name := range p.Types.Scope().Names() {
			structure, ok := p.Types.Scope().Lookup(name).Type().Underlying().(*types.Struct)
			if !ok {
				continue
			}
			for i := range structure.NumFields() {
				field := name + "." + structure.Field(i).Name()
				if key := reflect.StructTag(structure.Tag(i)).Get("yaml"); key != "" && key != "-" && !slices.Contains(readByConfig, field) {
					unread[place(p, structure.Field(i))] = field
				}
			}
		}
	}
	if len(unread) < 50 {
		t.Fatalf("only %d keys found", len(unread))
	}
	for _, p := range loaded {
		if p.Name != "main" {
			continue
		}
		for _, selection := range p.TypesInfo.Selections {
			if pkg := selection.Obj().Pkg(); pkg != nil && pkg.Name() == "config" {
				delete(unread, place(p, selection.Obj()))
			}
		}
	}
	var forgotten []string
	for at, field := range unread {
		forgotten = append(forgotten, at+": "+field)
	}
	slices.Sort(forgotten)
	for _, f := range forgotten {
		t.Errorf("%s: no part of tandem reads it", f)
	}
}
