// SPDX-License-Identifier: Apache-2.0

package apps

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"os/exec"
	"strings"
	"time"

	"github.com/tandem-gateway/tandem/bench/lab"
)

// maxBody is how much of a body CurlResult keeps.
const maxBody = 64 << 10

// CurlResult tells how a run of curl went.
type CurlResult struct {
	// ExitCode is curl's, see curl(1); 0 is success.
	ExitCode int
	// Message is curl's own account of a failure.
	Message string
	// Status is the HTTP status, 0 if there was no answer.
	Status int
	// Size and SHA256 (in hexadecimal) of the received body; Body is its
	// beginning, at most 64 KiB.
	Size   int64
	SHA256 string
	Body   []byte
	// Elapsed is the whole time, Rate the average in bit/s over it.
	Elapsed time.Duration
	Rate    float64
}

// Curl runs curl on a host with the given arguments, the last of them usually
// the URL, and reads the body. That curl fails is not an error but an exit
// code; the error says that it could not be run.
func Curl(ctx context.Context, h *lab.Host, args ...string) (CurlResult, error) {
	p := h.Command(ctx, "curl", append([]string{"-q", "-sS", "-w", "%{stderr}\n%{json}\n"}, args...)...)
	body := &bodyWriter{hash: sha256.New()}
	var stderr bytes.Buffer
	p.Stdout, p.Stderr = body, &stderr
	err := p.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return CurlResult{}, fmt.Errorf("curl on %q: %w", h.Name(), err)
	}
	r := CurlResult{
		ExitCode: p.ExitCode(),
		Size:     body.size,
		SHA256:   hex.EncodeToString(body.hash.Sum(nil)),
		Body:     body.start,
	}
	if err := r.readReport(stderr.String()); err != nil {
		return r, fmt.Errorf("curl on %q: %w", h.Name(), err)
	}
	return r, nil
}

// readReport takes what curl -w has written after its own messages.
func (r *CurlResult) readReport(stderr string) error {
	message, report, found := strings.Cut(stderr, "\n{")
	r.Message = strings.TrimSpace(message)
	if !found {
		// A signal or an unusable command line: the exit code tells.
		return nil
	}
	var values struct {
		HTTPCode int     `json:"http_code"`
		Time     float64 `json:"time_total"`
		Speed    float64 `json:"speed_download"`
	}
	if err := json.NewDecoder(strings.NewReader("{" + report)).Decode(&values); err != nil {
		return fmt.Errorf("read report: %w", err)
	}
	r.Status = values.HTTPCode
	r.Elapsed = time.Duration(values.Time * float64(time.Second))
	r.Rate = values.Speed * 8
	return nil
}

// bodyWriter hashes a body and keeps its beginning.
type bodyWriter struct {
	hash  hash.Hash
	size  int64
	start []byte
}

func (w *bodyWriter) Write(p []byte) (int, error) {
	w.hash.Write(p)
	w.size += int64(len(p))
	if room := maxBody - len(w.start); room > 0 {
		w.start = append(w.start, p[:min(room, len(p))]...)
	}
	return len(p), nil
}
