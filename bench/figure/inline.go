// SPDX-License-Identifier: Apache-2.0

package figure

import (
	"bytes"
	"fmt"
	"image/color"
	"regexp"
	"strings"
)

// Inline turns a plot, as [Plot.SVG] gives it, into an element of an HTML
// page: without declarations, as wide as there is room, and with colours that
// come from the page. See [Style].
func Inline(svg []byte) []byte {
	if start := bytes.Index(svg, []byte("<svg")); start > 0 {
		svg = svg[start:]
	}
	svg = size.ReplaceAll(svg, []byte("<svg class=\"plot\" "))
	svg = bytes.Replace(svg, []byte("fill:#FFFFFF"), []byte("fill:none"), 1)
	return fromPage.replace(svg)
}

// size of an image.
var size = regexp.MustCompile(`^<svg width="[^"]*" height="[^"]*" `)

// colours that the page defines.
type colours map[string]string

var fromPage = func() colours {
	all := colours{hex(ink): "currentColor", hex(faint): "var(--plot-grid)"}
	for i, c := range palette {
		all[hex(c)] = fmt.Sprintf("var(--plot-%d)", i)
	}
	return all
}()

var colour = regexp.MustCompile(`#[0-9A-F]{6}\b`)

// replace replaces all colours that it knows.
func (c colours) replace(svg []byte) []byte {
	return colour.ReplaceAllFunc(svg, func(old []byte) []byte {
		if replaced := c[string(old)]; replaced != "" {
			return []byte(replaced)
		}
		return old
	})
}

func hex(c color.Color) string {
	r, g, b, _ := c.RGBA()
	return fmt.Sprintf("#%02X%02X%02X", r>>8, g>>8, b>>8)
}

// dark are the colours of the palette on a dark ground.
var dark = []string{"#4DA3E0", "#FF8A3D", "#2FCB9B", "#E79CC6", "#F0B429", "#8FD3F8"}

// Style is CSS with the colours of inline plots, for light and for dark pages.
func Style() string {
	var s strings.Builder
	fmt.Fprintf(&s, ":root{--plot-grid:%s", hex(faint))
	for i, c := range palette {
		fmt.Fprintf(&s, ";--plot-%d:%s", i, hex(c))
	}
	s.WriteString("}\n@media(prefers-color-scheme:dark){:root{--plot-grid:#3A3F47")
	for i, c := range dark {
		fmt.Fprintf(&s, ";--plot-%d:%s", i, c)
	}
	s.WriteString("}}\n.plot{width:100%;height:auto}")
	return s.String()
}
