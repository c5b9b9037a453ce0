// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tandem-gateway/tandem/config"
)

// manualSection is that of system administration.
const manualSection = "8"

// manualCommand is for packages: it is hidden from users.
func manualCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:    "manual DIRECTORY",
		Short:  "Write the man pages of all commands",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return err
			}
			return writeManual(root, args[0])
		},
	}
}

// writeManual writes the pages of a command and of those below it.
func writeManual(c *cobra.Command, dir string) error {
	if err := os.WriteFile(filepath.Join(dir, pageName(c)+"."+manualSection), manualPage(c), 0o644); err != nil {
		return err
	}
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			if err := writeManual(sub, dir); err != nil {
				return err
			}
		}
	}
	return nil
}

func pageName(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

// roff is a man page in the making: groff_man(7).
type roff struct{ bytes.Buffer }

// request writes a request or macro with its arguments.
func (r *roff) request(name string, args ...string) {
	fmt.Fprintf(r, ".%s", name)
	for _, a := range args {
		fmt.Fprintf(r, ` "%s"`, strings.ReplaceAll(roffText(a), `"`, `\(dq`))
	}
	r.WriteByte('\n')
}

// text writes paragraphs. Those with a line that is indented are kept as they
// are, and so is what is before it.
func (r *roff) text(text string) {
	for i, paragraph := range strings.Split(strings.TrimSpace(text), "\n\n") {
		if i > 0 {
			r.request("PP")
		}
		if strings.HasPrefix(paragraph, " ") || strings.Contains(paragraph, "\n ") {
			r.verbatim(paragraph)
		} else {
			r.WriteString(roffText(paragraph) + "\n")
		}
	}
}

func (r *roff) verbatim(text string) {
	r.request("nf")
	r.WriteString(roffText(text) + "\n")
	r.request("fi")
}

var roffEscapes = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`, "\n.", "\n\\&.")

// roffText escapes what is more than text: also no line may begin with a period.
func roffText(text string) string {
	text = roffEscapes.Replace(text)
	if strings.HasPrefix(text, ".") {
		text = `\&` + text
	}
	return text
}

// manualPage is the page of one command.
func manualPage(c *cobra.Command) []byte {
	r := &roff{}
	c.InitDefaultHelpFlag() // else only the command that runs has it
	r.request("TH", strings.ToUpper(pageName(c)), manualSection, "", "tandem "+version, "Tandem")
	r.request("SH", "NAME")
	r.WriteString(roffText(pageName(c)) + ` \- ` + roffText(c.Short) + "\n")
	r.request("SH", "SYNOPSIS")
	if c.HasSubCommands() {
		r.request("B", c.CommandPath()+" COMMAND")
	} else {
		r.request("B", c.UseLine())
	}
	if c.Long != "" {
		r.request("SH", "DESCRIPTION")
		r.text(c.Long)
	}
	r.commands(c)
	r.flags(c.NonInheritedFlags())
	if c.Example != "" {
		r.request("SH", "EXAMPLES")
		r.verbatim(c.Example)
	}
	if !c.HasSubCommands() {
		r.request("SH", "EXIT STATUS")
		r.WriteString("0 if all went well, else 1; the reason is on standard error.\n")
	}
	if !c.HasParent() {
		r.files()
	} else {
		r.request("SH", "SEE ALSO")
		r.request("BR", pageName(c.Parent()), "("+manualSection+")")
	}
	return r.Bytes()
}

func (r *roff) commands(c *cobra.Command) {
	if !c.HasAvailableSubCommands() {
		return
	}
	r.request("SH", "COMMANDS")
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			r.request("TP")
			r.request("BR", pageName(sub), "("+manualSection+")")
			r.WriteString(roffText(sub.Short) + "\n")
		}
	}
}

func (r *roff) flags(flags *pflag.FlagSet) {
	if !flags.HasAvailableFlags() {
		return
	}
	r.request("SH", "OPTIONS")
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		names := `\fB` + roffText("--"+f.Name) + `\fP`
		if f.Shorthand != "" {
			names = `\fB` + roffText("-"+f.Shorthand) + `\fP, ` + names
		}
		if value != "" {
			names += ` \fI` + roffText(value) + `\fP`
		}
		switch f.DefValue {
		case "", "0", "0s", "false", "[]":
		default:
			usage += " (default " + f.DefValue + ")"
		}
		r.request("TP")
		r.WriteString(names + "\n" + roffText(usage) + "\n")
	})
}

func (r *roff) files() {
	r.request("SH", "FILES")
	for _, f := range []struct{ path, what string }{
		{"/etc/tandem/tandem.yaml", "The configuration of the service of the package."},
		{config.AdminSocket, "The socket that operators' commands use, unless admin.socket of the configuration says otherwise."},
		{"/usr/share/doc/tandem", "All keys of the configuration, quick starts, operations, security, troubleshooting."},
	} {
		r.request("TP")
		r.request("I", f.path)
		r.WriteString(roffText(f.what) + "\n")
	}
}
