// SPDX-License-Identifier: Apache-2.0

package page

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tandem-gateway/tandem/bench/experiment"
)

var errNoLink = errors.New("no <link> here")

func results(t *testing.T, quick bool) *experiment.Results {
	t.Helper()
	all := []experiment.Experiment{
		{
			ID: "example-a", Title: "A < B", Question: "Is A less than B?", Setup: "Two & more.", Drawing: "a ---> b",
			Metrics:   []experiment.Metric{{Name: "rate", Unit: "Gbit/s"}},
			Published: []experiment.Published{{Source: "fig 1", Value: "it is"}, {Source: "fig 2", Value: "so is this"}},
			Run: func(_ context.Context, _ *experiment.Env, r *experiment.Result) error {
				r.Add("a", 0, experiment.Measured{"rate": 1})
				r.Out("b", errNoLink)
				r.Summary()
				r.Plot("", r.Bars("rate", "Rates of <a>"))
				r.Judge(true, "so it is", "%d", 1)
				r.Judge(false, "so it is not", "%d", 2)
				r.Ours("fig 1", "%d times", 3)
				r.Note("a note")
				return nil
			},
		},
		{ID: "example-b", Title: "Fails", Run: func(context.Context, *experiment.Env, *experiment.Result) error { return errNoLink }},
	}
	dir := t.TempDir()
	if err := experiment.Run(t.Context(), experiment.Options{Env: experiment.Env{Quick: quick}, Dir: dir}, all); !errors.Is(err, experiment.ErrFailed) {
		t.Fatal(err)
	}
	r, err := experiment.ReadResults(dir)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestWrite(t *testing.T) {
	var page bytes.Buffer
	if err := Write(&page, results(t, true)); err != nil {
		t.Fatal(err)
	}
	text := page.String()
	for _, want := range []string{
		"A &lt; B", "Two &amp; more.", "a ---&gt; b", "<td>it is</td><td>3 times</td>", "<td>so is this</td><td>see the verdict</td>",
		`<span class="word failed">failed</span>: no &lt;link&gt; here`, "<p>b: no &lt;link&gt; here</p>", `<svg class="plot"`,
		"These are short forms", "a note", `<span class="word missed">missed</span>, 1 of 2`, "prefers-color-scheme:dark",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q", want)
		}
	}
	// Self-contained: nothing is fetched from elsewhere.
	for _, forbidden := range []string{"<script", "src=", "@import", "url(", "<link"} {
		if strings.Contains(text, forbidden) {
			t.Errorf("the page has %q", forbidden)
		}
	}
	// All elements end where they should.
	d := xml.NewDecoder(&page)
	d.Strict, d.AutoClose, d.Entity = false, []string{"meta"}, xml.HTMLEntity
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestWriteFile(t *testing.T) {
	r := results(t, false)
	file := filepath.Join(r.Dir, "report.html")
	if err := WriteFile(file, r); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(file); err != nil || strings.Contains(string(text), "short forms") {
		t.Errorf("%v, or it speaks of short forms", err)
	}
	r.Outcomes[0].Plots[0].File = "gone.svg"
	if err := WriteFile(file, r); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}
