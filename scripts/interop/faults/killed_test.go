// Clients that vanish at every byte of their handshake, by a clean end and by a reset.

package faults

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"tailscale.com/types/key"

	"towline.test/interop/harness"
)

func TestKilledAtEveryByte(t *testing.T) {
	for _, plain := range []bool{true, false} {
		t.Run(fmt.Sprintf("plain=%v", plain), func(t *testing.T) {
			t.Parallel()
			relay := harness.Start(t, harness.Options{Plain: plain})
			bystanders := startBystanders(t, relay)
			total, err := login(relay, 1<<20, false)
			if err != nil {
				t.Fatal(err)
			}
			step := 1
			if testing.Short() {
				step = 23
			}
			round := func(step int) {
				for _, reset := range []bool{false, true} {
					for bytes := 0; bytes <= total; bytes += step {
						if _, err := login(relay, bytes, reset); err == nil && bytes < total {
							t.Errorf("a client that wrote only %d of %d bytes was admitted", bytes, total)
						}
					}
				}
			}
			round(29) // what grows once, grows here
			relay.WaitMetric(t, "derp_current_connections", 2)
			before := relay.Resources(t)
			round(step)
			relay.WaitMetric(t, "derp_current_connections", 2)
			bystanders.wantUndisturbed(t, 2*time.Second)
			wantSettled(t, relay, before)
			t.Logf("killed at each of %d bytes", total)
		})
	}
}

var errKilled = errors.New("killed by the test")

// login does a whole handshake, but its connection dies before more than so many bytes are written.
// It returns how many were. TLS clients start fast, so that their last bytes are ClientInfo too.
func login(relay *harness.Relay, bytesMax int, reset bool) (int, error) {
	tcp, err := net.DialTimeout("tcp", relay.Addr(), harness.ReplyTimeout)
	if err != nil {
		return 0, err
	}
	mortal := &mortalConn{TCPConn: tcp.(*net.TCPConn), left: bytesMax, reset: reset}
	defer mortal.kill()
	mortal.SetDeadline(time.Now().Add(harness.ReplyTimeout))
	if bytesMax == 0 {
		return 0, errKilled
	}
	conn := net.Conn(mortal)
	if !relay.Plain {
		secure := tls.Client(mortal, harness.ClientTLS(relay.ServerName))
		if err := secure.Handshake(); err != nil {
			return mortal.written, err
		}
		conn = secure
	}
	if _, err := io.WriteString(conn, harness.UpgradeRequest(relay)); err != nil {
		return mortal.written, err
	}
	wire := &harness.Wire{Conn: conn, Reader: bufio.NewReader(conn), Key: key.NewNode(), ServerKey: relay.Key.Public()}
	if _, err := http.ReadResponse(wire.Reader, nil); err != nil {
		return mortal.written, err
	}
	if _, err := conn.Write(harness.Frame(harness.FrameClientInfo, wire.ClientInfo(`{"version":2}`))); err != nil {
		return mortal.written, err
	}
	for _, want := range []byte{harness.FrameServerKey, harness.FrameServerInfo} {
		kind, _, err := wire.ReadFrame(harness.ReplyTimeout)
		if err != nil || kind != want {
			return mortal.written, fmt.Errorf("frame 0x%02x, %w", kind, err)
		}
	}
	return mortal.written, nil
}

// mortalConn dies after so many written bytes.
type mortalConn struct {
	*net.TCPConn
	left, written int
	reset         bool
}

func (m *mortalConn) Write(p []byte) (int, error) {
	fits := min(len(p), m.left)
	n, err := m.TCPConn.Write(p[:fits])
	m.left -= n
	m.written += n
	if err == nil && fits < len(p) {
		m.kill()
		err = errKilled
	}
	return n, err
}

func (m *mortalConn) kill() {
	if m.reset {
		m.SetLinger(0)
	}
	m.Close()
}
