// SPDX-License-Identifier: Apache-2.0

// Package web is the page on which operators watch a running gateway: static
// files without anything from elsewhere, and the list of options. What it shows it
// gets from the interface of package admin, which serves it too.
package web

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"time"

	"github.com/tandem-gateway/tandem/options"
)

//go:embed page
var files embed.FS

// policy lets the page use nothing but its own files and the interface that
// they are served by, and lets nobody put it into a page of his own.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// examples is the module of the page that has the options to choose from, each
// with a value.
func examples() []byte {
	var all [][2]string
	for o := range options.All() {
		all = append(all, [2]string{o.String(), o.Example()})
	}
	list, err := json.Marshal(all)
	if err != nil {
		panic(err) // text can be written
	}
	return fmt.Appendf(nil, "export const all = %s;\n", list)
}

// Page serves the page at / and its parts below /page/.
func Page() http.Handler {
	parts, err := fs.Sub(files, "page")
	if err != nil {
		panic(err) // the name is a constant
	}
	server, choices := http.StripPrefix("/page", http.FileServerFS(parts)), examples()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		// Another version of the program has another page.
		h.Set("Cache-Control", "no-cache")
		switch r.URL.Path {
		case "/":
			http.ServeFileFS(w, r, parts, "index.html")
		case "/page/examples.js":
			http.ServeContent(w, r, "examples.js", time.Time{}, bytes.NewReader(choices))
		default:
			server.ServeHTTP(w, r)
		}
	})
}
