// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
)

// Page is a web page: objects that are known of once others have arrived.
// Object 0 is the document.
type Page struct{ Objects []Object }

// Object is a part of a page.
type Object struct {
	// Size in bytes.
	Size int64
	// Of is the object that names it, which comes before it in the page; the
	// document's is -1.
	Of int
	// Early makes it known after this share of the other has arrived: a browser
	// finds what the head of a document names before the rest is there. 1 is
	// after all of it.
	Early float64
}

// check reports what cannot be loaded.
func (p Page) check() error {
	if len(p.Objects) == 0 || p.Objects[0].Of != -1 {
		return errors.New("page without a document")
	}
	for i, o := range p.Objects {
		if err := Fixed(o.Size).check("object", 1); err != nil {
			return err
		}
		if i > 0 && (o.Of < 0 || o.Of >= i) {
			return fmt.Errorf("object %d of a page is of object %d", i, o.Of)
		}
		if o.Early < 0 || o.Early > 1 {
			return fmt.Errorf("object %d of a page is known after a share of %v", i, o.Early)
		}
	}
	return nil
}

// Bytes is the size of all objects.
func (p Page) Bytes() (n int64) {
	for _, o := range p.Objects {
		n += o.Size
	}
	return n
}

// class is a class of objects of generated pages.
type class struct {
	median float64 // bytes
	sigma  float64 // of the logarithm
	few    int     // how many there are at least
	more   int     // and at most besides
	of     []int   // classes that name them; -1: the document
	early  float64
}

// classes are about those of the pages of the HTTP Archive: the sum of a page
// is 1 to 3 MB in 40 to 90 objects. Style sheets and scripts are in the head;
// fonts are named by style sheets, some scripts and images by scripts.
var classes = []class{
	{median: 8e3, sigma: 1, few: 3, more: 5, of: []int{-1}, early: 0.2},      // 0: style sheets
	{median: 15e3, sigma: 1.1, few: 6, more: 10, of: []int{-1}, early: 0.2},  // 1: scripts
	{median: 12e3, sigma: 1.3, few: 15, more: 25, of: []int{-1}, early: 0.6}, // 2: images
	{median: 25e3, sigma: 0.5, few: 1, more: 4, of: []int{0}, early: 1},      // 3: fonts
	{median: 12e3, sigma: 1.1, few: 4, more: 10, of: []int{1}, early: 1},     // 4: scripts of scripts
	{median: 10e3, sigma: 1.3, few: 4, more: 16, of: []int{4, 1}, early: 1},  // 5: images and data of scripts
}

// Bounds of a drawn object in bytes.
const (
	leastObject = 100
	mostObject  = 1 << 20
)

// NewPage draws a page.
func NewPage(seed uint64) Page {
	random := rand.New(rand.NewPCG(seed, 'p'))
	size := func(median, sigma float64) int64 {
		return int64(min(max(median*math.Exp(sigma*random.NormFloat64()), leastObject), mostObject))
	}
	p := Page{Objects: []Object{{Size: size(25e3, 0.8), Of: -1, Early: 1}}}
	members := make([][]int, len(classes))
	for k, c := range classes {
		for range c.few + random.IntN(c.more+1) {
			of := 0
			if from := c.of[random.IntN(len(c.of))]; from >= 0 {
				of = members[from][random.IntN(len(members[from]))]
			}
			members[k] = append(members[k], len(p.Objects))
			p.Objects = append(p.Objects, Object{Size: size(c.median, c.sigma), Of: of, Early: c.early})
		}
	}
	return p
}

// NewPages draws pages, the same for the same seed.
func NewPages(seed uint64, n int) []Page {
	pages := make([]Page, n)
	for i := range pages {
		pages[i] = NewPage(seed + uint64(i))
	}
	return pages
}
