// SPDX-License-Identifier: Apache-2.0

package tproxy

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/tandem-gateway/tandem/bench/lab/labtest"
)

func TestWithoutNetAdmin(t *testing.T) {
	if _, err := exec.LookPath("setpriv"); err != nil {
		t.Skip(err)
	}
	h := newHome(t)
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	before := state(t, h.CPE)
	s := labtest.Start(t, h.CPE, "setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin",
		"env", installEnv+"=tandem", executable)
	labtest.Await(t, patience, "end of the process", func() bool {
		select {
		case <-s.Done():
			return true
		default:
			return false
		}
	})
	want := "installed: transparent interception: " + ErrPermission.Error()
	if got := s.Log.String(); s.ExitCode() != 1 || !strings.HasPrefix(got, want) {
		t.Errorf("exit code %d, %q, want %q", s.ExitCode(), got, want)
	}
	unchanged(t, h.CPE, before)
}
