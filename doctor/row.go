// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"fmt"
	"io"

	"github.com/tandem-gateway/tandem/plural"
)

// Verdict is how a check came out.
type Verdict string

// The verdicts.
const (
	OK      Verdict = "ok"
	Warning Verdict = "warning" // works, with less than there could be
	Failed  Verdict = "failed"  // something that is needed is missing
	Unknown Verdict = "unknown" // could not be looked at
)

// Row is one check.
type Row struct {
	Group   string  `json:"group"`
	Check   string  `json:"check"`
	Verdict Verdict `json:"verdict"`
	// Found is what was seen.
	Found string `json:"found"`
	// Lost is what does not work, or not as well; empty if the verdict is OK.
	Lost string `json:"lost,omitempty"`
	// Mend is the shell command that mends it, here unless Lost says elsewhere;
	// empty if none can.
	Mend string `json:"mend,omitempty"`
}

// Report is the outcome of an examination.
type Report struct {
	Rows []Row `json:"rows"`
	// Failed and Warnings count the rows with these verdicts.
	Failed   int `json:"failed"`
	Warnings int `json:"warnings"`
}

func (r *Report) add(rows ...Row) {
	for _, row := range rows {
		switch row.Verdict {
		case Failed:
			r.Failed++
		case Warning:
			r.Warnings++
		}
		r.Rows = append(r.Rows, row)
	}
}

// WriteText writes the rows for people.
func (r *Report) WriteText(w io.Writer) error {
	var failure error
	line := func(format string, args ...any) {
		if failure == nil {
			_, failure = fmt.Fprintf(w, format, args...)
		}
	}
	group := ""
	for _, row := range r.Rows {
		if row.Group != group {
			group = row.Group
			line("%s\n", group)
		}
		line("  %-8s %s: %s\n", row.Verdict, row.Check, row.Found)
		if row.Lost != "" {
			line("           lost: %s\n", row.Lost)
		}
		if row.Mend != "" {
			line("           mend: %s\n", row.Mend)
		}
	}
	line("%s, %d failed, %s\n", plural.Of(len(r.Rows), "check"), r.Failed, plural.Of(r.Warnings, "warning"))
	return failure
}

// good is a row about nothing to complain of.
func good(group, check, format string, args ...any) Row {
	return Row{Group: group, Check: check, Verdict: OK, Found: fmt.Sprintf(format, args...)}
}

// unknown is a row about what could not be looked at.
func unknown(group, check, lost string, err error) Row {
	return Row{Group: group, Check: check, Verdict: Unknown, Found: err.Error(), Lost: lost}
}

// severity is Failed for what is needed, and Warning for what is not.
func severity(needed bool) Verdict {
	if needed {
		return Failed
	}
	return Warning
}
