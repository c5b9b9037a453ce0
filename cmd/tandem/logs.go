// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"log/slog"

	"github.com/tandem-gateway/tandem/config"
)

// logs is the logger with what a reload may change of it.
type logs struct {
	logger *slog.Logger
	level  *slog.LevelVar
	format config.LogFormat
}

func newLogs(w io.Writer, c config.Log) *logs {
	l := &logs{level: new(slog.LevelVar), format: c.Format}
	l.level.Set(c.Level.Level())
	options := &slog.HandlerOptions{Level: l.level}
	if c.Format == config.LogJSON {
		l.logger = slog.New(slog.NewJSONHandler(w, options))
	} else {
		l.logger = slog.New(slog.NewTextHandler(w, options))
	}
	return l
}

// apply takes over a new configuration. The format stays: whoever reads the
// log would not understand it in the middle.
func (l *logs) apply(c config.Log) (late string) {
	l.level.Set(c.Level.Level())
	if c.Format != l.format {
		return "log.format changes when tandem is started again"
	}
	return ""
}
