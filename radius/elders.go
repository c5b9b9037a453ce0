// SPDX-License-Identifier: Apache-2.0

package radius

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
	"layeh.com/radius"
	"layeh.com/radius/rfc3576"
	"layeh.com/radius/rfc5176"
)

// elderPatience is how long a process from before may take to answer.
const elderPatience = time.Second

// errElder is why a request gets no answer: its sender asks again.
var errElder = errors.New("a process from before, which may have the session, does not answer")

// errand is a request that one process passes to another, and what became of it. The
// first one has verified it.
type errand struct {
	Number uint64             `json:"number"`
	Packet []byte             `json:"packet,omitempty"`
	Cause  rfc3576.ErrorCause `json:"cause,omitempty"` // of the answer; 0: it is done
}

// maxErrand is more than any takes.
const maxErrand = 2 * radius.MaxPacketLength

// Pair returns two ends of a socket over which a Dynamic passes requests to that of
// an elder process: one for Leave, and one for DynamicOptions.Elders.
func Pair() (elder, successor *net.UnixConn, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("radius: %w", err)
	}
	elder, err = adopt(fds[0])
	successor, err2 := adopt(fds[1])
	return elder, successor, errors.Join(err, err2)
}

// AdoptElders takes over descriptors that lead to elder processes. Those which have
// ended are left out.
func AdoptElders(fds []int) (elders []*net.UnixConn, err error) {
	for _, fd := range fds {
		look := []unix.PollFd{{Fd: int32(fd)}}
		if n, err := unix.Poll(look, 0); err == nil && n > 0 && look[0].Revents&unix.POLLHUP != 0 {
			unix.Close(fd)
			continue
		}
		elder, err := adopt(fd)
		if err != nil {
			return elders, err
		}
		elders = append(elders, elder)
	}
	return elders, nil
}

// adopt takes over the descriptor of an end.
func adopt(fd int) (*net.UnixConn, error) {
	f := os.NewFile(uintptr(fd), "elder")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("radius: %w", err)
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, fmt.Errorf("radius: descriptor %d is no unix socket", fd)
	}
	return u, nil
}

// Leave ends the service, but for sessions that only this process has: the successor
// passes requests on to it. Close ends that as well.
func (d *Dynamic) Leave(successor *net.UnixConn) {
	d.conn.Close()
	d.running.Wait()
	d.closeElders() // it has them too
	d.successor = successor
	d.running.Go(func() { d.serve(successor) })
}

// serve does what a successor asks for, until there is none.
func (d *Dynamic) serve(successor *net.UnixConn) {
	in := make([]byte, maxErrand)
	for {
		n, err := successor.Read(in)
		if err != nil {
			return
		}
		var e errand
		if json.Unmarshal(in[:n], &e) != nil {
			continue
		}
		e.Cause = rfc5176.ErrorCause_Value_InvalidAttributeValue
		// The secret is of no use: nothing in a request is hidden.
		if request, err := radius.Parse(e.Packet, []byte{0}); err == nil {
			e.Cause = d.do(request)
		}
		e.Packet = nil
		out, err := json.Marshal(e)
		if err != nil {
			continue
		}
		if _, err := successor.Write(out); err != nil {
			return
		}
	}
}

// askElders has a request followed by the processes that may have its sessions, and
// returns 0 if one has, or else why not. The error is errElder.
func (d *Dynamic) askElders(packet []byte) (rfc3576.ErrorCause, error) {
	const none = rfc3576.ErrorCause_Value_SessionContextNotFound
	cause := none
	for _, elder := range slices.Clone(d.elders) {
		switch one, err := d.ask(elder, packet); {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return 0, errElder
		case err != nil: // it has ended, and its sessions with it
			d.elders = slices.DeleteFunc(d.elders, func(e *net.UnixConn) bool { return e == elder })
		case one == none, one == rfc3576.ErrorCause_Value_NASIdentificationMismatch: // it had another name
		case one != 0:
			return one, nil
		default:
			cause = 0
		}
	}
	return cause, nil
}

// ask asks one elder.
func (d *Dynamic) ask(elder *net.UnixConn, packet []byte) (rfc3576.ErrorCause, error) {
	d.errands++
	out, err := json.Marshal(errand{Number: d.errands, Packet: packet})
	if err != nil {
		return 0, err
	}
	if err := elder.SetDeadline(time.Now().Add(elderPatience)); err != nil {
		return 0, err
	}
	if _, err := elder.Write(out); err != nil {
		return 0, err
	}
	in := make([]byte, maxErrand)
	for {
		n, err := elder.Read(in)
		if err != nil {
			return 0, err
		}
		var e errand
		if err := json.Unmarshal(in[:n], &e); err != nil {
			return 0, err
		}
		if e.Number == d.errands { // else it is the answer to one before, and late
			return e.Cause, nil
		}
	}
}

func (d *Dynamic) closeElders() {
	for _, e := range d.o.Elders {
		e.Close()
	}
	d.elders = nil
}
