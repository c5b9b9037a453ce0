// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding"
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy/policy"
)

// parsers read the types that have a text of their own but no method, or none
// that says what is expected.
var parsers = map[reflect.Type]func(string) (any, string){
	reflect.TypeFor[time.Duration](): func(s string) (any, string) {
		v, err := time.ParseDuration(s)
		if err != nil {
			return nil, "want a duration with a unit, such as 50ms, 30s, 5m or 2h"
		}
		if v < 0 {
			return nil, "want 0s or more"
		}
		return v, ""
	},
	reflect.TypeFor[netip.AddrPort](): func(s string) (any, string) {
		v, err := netip.ParseAddrPort(s)
		if err == nil {
			return v, ""
		}
		if a, err := netip.ParseAddr(s); err == nil {
			return nil, "want a port too: " + netip.AddrPortFrom(a, 1080).String()
		}
		if port, ok := strings.CutPrefix(s, ":"); ok {
			return nil, "want an address too: 0.0.0.0:" + port + " or [::]:" + port
		}
		return nil, "want an address and a port, such as 192.0.2.1:1080 or [2001:db8::1]:1080"
	},
	reflect.TypeFor[netip.Addr](): func(s string) (any, string) {
		v, err := netip.ParseAddr(s)
		if err != nil {
			return nil, "want an address, such as 192.0.2.1 or 2001:db8::1"
		}
		return v, ""
	},
	reflect.TypeFor[netip.Prefix](): func(s string) (any, string) {
		v, err := policy.ParsePrefix(s)
		if err != nil {
			return nil, err.Error()
		}
		return v, ""
	},
	reflect.TypeFor[mptcp.Mode](): func(s string) (any, string) {
		v, err := mptcp.ParseMode(s)
		if err != nil {
			return nil, "want off, on or require"
		}
		return v, ""
	},
}

// isScalar reports whether values of t are single values in YAML.
func isScalar(t reflect.Type) bool {
	if parsers[t] != nil || reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return true
	}
	return !isSection(t) && t.Kind() != reflect.Slice
}

// isSection reports whether values of t have keys: the fields of a struct, or those
// of a map, which are the values of an enum.
func isSection(t reflect.Type) bool { return t.Kind() == reflect.Struct || t.Kind() == reflect.Map }

// scalar fills v, whose type is scalar.
func (d *decoder) scalar(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.ScalarNode || isNull(n) {
		d.bad(n, path, describe(n)+" instead of a value", expectedOf(v))
		return
	}
	expected := fill(n, v)
	switch {
	case expected == "":
	case v.Type().Kind() == reflect.String && n.Tag != "!!str":
		// The text may be a password, which must not come into logs.
		d.bad(n, path, "a value of type "+strings.TrimPrefix(n.Tag, "!!"), expected)
	default:
		d.bad(n, path, quote(n.Value), expected)
	}
}

// fill sets v, or says what is expected.
func fill(n *yaml.Node, v reflect.Value) (expected string) {
	if parse := parsers[v.Type()]; parse != nil {
		parsed, expected := parse(n.Value)
		if expected == "" {
			v.Set(reflect.ValueOf(parsed))
		}
		return expected
	}
	if e, ok := v.Interface().(enum); ok {
		if !slices.Contains(e.values(), n.Value) {
			return choose(n.Value, e.values())
		}
		v.SetString(n.Value)
		return ""
	}
	if t, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if err := t.UnmarshalText([]byte(n.Value)); err != nil {
			return err.Error()
		}
		return ""
	}
	if fillPlain(n, v) {
		return ""
	}
	if n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 {
		return expectedOf(v) + " without quotes"
	}
	return expectedOf(v)
}

// fillPlain sets a v of a built-in type.
func fillPlain(n *yaml.Node, v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Bool:
		if n.Tag != "!!bool" {
			return false
		}
		v.SetBool(strings.EqualFold(n.Value, "true"))
	case reflect.String:
		if n.Tag != "!!str" {
			return false
		}
		v.SetString(n.Value)
	case reflect.Float64:
		f, err := strconv.ParseFloat(n.Value, 64)
		if err != nil || n.Tag != "!!int" && n.Tag != "!!float" || math.IsNaN(f) || math.IsInf(f, 0) {
			return false
		}
		v.SetFloat(f)
	default:
		i, err := strconv.ParseInt(n.Value, 0, 64)
		// A leading 0 would make it octal, which hardly anybody means.
		octal := len(n.Value) > 1 && n.Value[0] == '0' && '0' <= n.Value[1] && n.Value[1] <= '9'
		if err != nil || n.Tag != "!!int" || octal {
			return false
		}
		if v.CanInt() {
			v.SetInt(i)
			return !v.OverflowInt(i)
		}
		if i < 0 || v.OverflowUint(uint64(i)) {
			return false
		}
		v.SetUint(uint64(i))
	}
	return true
}

// expectedOf says what values v takes.
func expectedOf(v reflect.Value) string {
	if parse := parsers[v.Type()]; parse != nil {
		_, expected := parse("")
		return expected
	}
	if t, ok := reflect.New(v.Type()).Interface().(encoding.TextUnmarshaler); ok {
		if err := t.UnmarshalText(nil); err != nil {
			return err.Error()
		}
	}
	if e, ok := v.Interface().(enum); ok {
		return choose("", e.values())
	}
	switch v.Kind() {
	case reflect.Bool:
		return "want true or false"
	case reflect.Float64:
		return "want a number"
	case reflect.Int, reflect.Int64:
		return "want a whole number"
	case reflect.Uint32, reflect.Uint8:
		return fmt.Sprintf("want a whole number from 0 to %d", uint64(1)<<v.Type().Bits()-1)
	case reflect.String:
		return "want text, in quotes if it looks like something else"
	}
	return "want one value"
}
