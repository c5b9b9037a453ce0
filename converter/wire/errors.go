// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"errors"
	"fmt"
)

var (
	// ErrShort says that the bytes so far are the beginning of a message.
	ErrShort = errors.New("convert message is incomplete")
	// ErrNotConvert says that the bytes do not carry the magic number. The
	// connection is to be closed without an answer.
	ErrNotConvert = errors.New("not a convert message")
	// ErrTooLong is returned when a message to be written exceeds MaxLen.
	ErrTooLong = errors.New("convert message is too long")
)

// ParseError is a message that has to be answered with an Error TLV.
type ParseError struct {
	// Code and Value are those of the Error TLV.
	Code  ErrorCode
	Value []byte
	// Reason says what is wrong, for the log.
	Reason string
}

func (e *ParseError) Error() string {
	return fmt.Sprintf("%s: %s", e.Code, e.Reason)
}

func malformed(format string, args ...any) *ParseError {
	return &ParseError{Code: MalformedMessage, Reason: fmt.Sprintf(format, args...)}
}
