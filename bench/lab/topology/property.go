// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tandem-gateway/tandem/bench/lab/emulator"
)

// properties are those of a direction of a link, in the order in which they
// are set: burst needs loss.
var properties = []string{"rate", "queue", "delay", "jitter", "loss", "burst", "reorder"}

func unknownProperty(values map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !slices.Contains(properties, name) {
			return fmt.Errorf("unknown property %s, want one of %s", name, strings.Join(properties, ", "))
		}
	}
	return nil
}

// setProperty sets one property from its text: rates as 20M or 1.5Gbit/s,
// queues as 64kB or 100p (packets), times as 20ms, shares as 2% or 0.02.
func setProperty(c *emulator.Conditions, name, text string) (err error) {
	switch name {
	case "rate":
		c.Rate, err = parseRate(text)
	case "queue":
		c.Queue, err = parseQueue(text)
	case "delay":
		c.Delay, err = time.ParseDuration(text)
	case "jitter":
		c.Jitter, err = time.ParseDuration(text)
	case "loss":
		var p float64
		p, err = parseShare(text)
		c.Loss = emulator.RandomLoss(p)
	case "burst":
		var length float64
		length, err = strconv.ParseFloat(text, 64)
		c.Loss = emulator.BurstLoss(c.Loss.Mean(), length)
	case "reorder":
		c.Reorder, err = parseShare(text)
	default:
		return unknownProperty(map[string]string{name: text})
	}
	if err != nil {
		return fmt.Errorf("%s=%s: %w", name, text, err)
	}
	return nil
}

var decimal = []struct {
	suffix string
	factor float64
}{{"k", 1e3}, {"M", 1e6}, {"G", 1e9}}

func parseDecimal(text string) (float64, error) {
	for _, u := range decimal {
		if number, ok := strings.CutSuffix(text, u.suffix); ok {
			f, err := strconv.ParseFloat(number, 64)
			return f * u.factor, err
		}
	}
	return strconv.ParseFloat(text, 64)
}

func parseRate(text string) (uint64, error) {
	f, err := parseDecimal(strings.TrimSuffix(strings.TrimSuffix(text, "/s"), "bit"))
	if err != nil || f < 0 || f > 1e12 {
		return 0, fmt.Errorf("want a rate such as 20Mbit/s, or 0 for no limit")
	}
	return uint64(f), nil
}

func parseQueue(text string) (emulator.Queue, error) {
	number, packets := strings.CutSuffix(text, "p")
	f, err := parseDecimal(strings.TrimSuffix(number, "B"))
	if err != nil || f < 0 || f > 1<<31 {
		return emulator.Queue{}, fmt.Errorf("want a length such as 64kB or 100p (packets), or 0 for the default")
	}
	if packets {
		return emulator.Queue{Packets: uint32(f)}, nil
	}
	return emulator.Queue{Bytes: uint32(f)}, nil
}

func parseShare(text string) (float64, error) {
	number, percent := strings.CutSuffix(text, "%")
	f, err := strconv.ParseFloat(number, 64)
	if percent {
		f /= 100
	}
	if err != nil || !(f >= 0 && f <= 1) {
		return 0, fmt.Errorf("want a share such as 2%% or 0.02")
	}
	return f, nil
}

// change is a parsed setting.
type change struct {
	link     string
	which    emulator.Direction
	property string // of properties, or up
	value    string
}

// parse reads LINK.PROPERTY=VALUE, LINK.forth.PROPERTY=VALUE or
// LINK.back.PROPERTY=VALUE, where PROPERTY may be up as well.
func (f *File) parse(setting string) (change, error) {
	key, value, ok := strings.Cut(setting, "=")
	parts := strings.Split(strings.TrimSpace(key), ".")
	c := change{link: parts[0], which: emulator.Both, property: parts[len(parts)-1], value: strings.TrimSpace(value)}
	if len(parts) == 3 && parts[1] == "forth" {
		c.which = emulator.AToB
	} else if len(parts) == 3 && parts[1] == "back" {
		c.which = emulator.BToA
	} else if len(parts) != 2 {
		ok = false
	}
	if !ok {
		return c, fmt.Errorf("%q: want LINK.PROPERTY=VALUE, LINK.forth.PROPERTY=VALUE or LINK.back.PROPERTY=VALUE", setting)
	}
	if f.Links[c.link] == nil {
		return c, fmt.Errorf("%q: no link %s", setting, c.link)
	}
	if c.property == "up" {
		if _, err := strconv.ParseBool(c.value); err != nil || c.which != emulator.Both {
			return c, fmt.Errorf("%q: want LINK.up=true or LINK.up=false", setting)
		}
		return c, nil
	}
	return c, setProperty(new(emulator.Conditions), c.property, c.value)
}
