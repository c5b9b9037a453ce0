// SPDX-License-Identifier: Apache-2.0

package password

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
)

// Parse reads the PHC string of an Argon2id hash. Its costs are bounded: 1 GiB,
// 64 passes, 16 lanes.
func Parse(s string) (Hash, error) {
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" {
		return Hash{}, fmt.Errorf("%w: want $argon2id$v=19$m=…,t=…,p=…$salt$key", ErrHash)
	}
	if version := fmt.Sprintf("v=%d", argon2.Version); parts[2] != version {
		return Hash{}, fmt.Errorf("%w: version %q: want %s", ErrHash, parts[2], version)
	}
	costs := strings.Split(parts[3], ",")
	if len(costs) != 3 {
		return Hash{}, fmt.Errorf("%w: costs %q: want m=…,t=…,p=…", ErrHash, parts[3])
	}
	lanes, err := cost(costs[2], "p", 1, maxLanes)
	if err != nil {
		return Hash{}, err
	}
	passes, err := cost(costs[1], "t", 1, maxPasses)
	if err != nil {
		return Hash{}, err
	}
	memory, err := cost(costs[0], "m", 8*lanes, maxMemory)
	if err != nil {
		return Hash{}, err
	}
	salt, err := octets(parts[4], "salt", minSalt)
	if err != nil {
		return Hash{}, err
	}
	key, err := octets(parts[5], "key", minKey)
	if err != nil {
		return Hash{}, err
	}
	return Hash{memory: memory, passes: passes, lanes: uint8(lanes), salt: salt, key: key}, nil
}

func cost(s, name string, least, most uint32) (uint32, error) {
	digits, named := strings.CutPrefix(s, name+"=")
	n, err := strconv.ParseUint(digits, 10, 32)
	if !named || err != nil || uint32(n) < least || uint32(n) > most {
		return 0, fmt.Errorf("%w: cost %q: want %s=%d to %s=%d", ErrHash, s, name, least, name, most)
	}
	return uint32(n), nil
}

func octets(s, name string, least int) ([]byte, error) {
	b, err := base64.RawStdEncoding.Strict().DecodeString(s)
	if err != nil || len(b) < least || len(b) > maxBytes {
		return nil, fmt.Errorf("%w: %s: want %d to %d bytes in base64 without padding", ErrHash, name, least, maxBytes)
	}
	return b, nil
}
