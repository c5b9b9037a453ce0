// SPDX-License-Identifier: Apache-2.0

package apps

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
)

// WriteData fills a file with size bytes that look random but are the same for
// the same seed, and returns their SHA-256 in hexadecimal.
func WriteData(path string, size int64, seed uint64) (string, error) {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	f, err := os.Create(path)
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	_, err = io.CopyN(io.MultiWriter(f, hash), rand.NewChaCha8(key), size)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return "", fmt.Errorf("write %d bytes of data: %w", size, err)
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}
