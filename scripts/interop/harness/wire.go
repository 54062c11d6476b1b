// DERP by hand: single bytes, frames and handshakes, for what no real client would send.

package harness

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"tailscale.com/types/key"
)

// Frame types of the protocol. Tailscale's package exports them only in newer versions.
const (
	FrameServerKey     = 0x01
	FrameClientInfo    = 0x02
	FrameServerInfo    = 0x03
	FrameSendPacket    = 0x04
	FrameRecvPacket    = 0x05
	FrameKeepAlive     = 0x06
	FrameNotePreferred = 0x07
	FramePeerGone      = 0x08
	FramePeerPresent   = 0x09
	FrameForwardPacket = 0x0a
	FrameWatchConns    = 0x10
	FrameClosePeer     = 0x11
	FramePing          = 0x12
	FramePong          = 0x13
)

// Magic begins the body of the server's first frame.
const Magic = "DERP\xf0\x9f\x94\x91"

// MaxPacketBytes is the largest payload of a packet.
const MaxPacketBytes = 64 << 10

// ReplyTimeout is how long a test waits for what must come at once.
const ReplyTimeout = 10 * time.Second

// Wire is a connection on which the test itself speaks.
type Wire struct {
	net.Conn
	Reader    *bufio.Reader
	Key       key.NodePrivate
	ServerKey key.NodePublic
}

// Dial opens a connection to the main port: TLS, unless the relay is a plain one.
func (r *Relay) Dial(config *tls.Config) (net.Conn, error) { return r.DialFrom("", config) }

// DialFrom is Dial from an address of this host; "" is the system's choice.
func (r *Relay) DialFrom(address string, config *tls.Config) (net.Conn, error) {
	dialer := net.Dialer{Timeout: ReplyTimeout}
	if address != "" {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(address)}
	}
	conn, err := dialer.Dial("tcp", r.Addr())
	if err != nil || r.Plain {
		return conn, err
	}
	if config == nil {
		config = ClientTLS(r.ServerName)
	}
	secure := tls.Client(conn, config)
	secure.SetDeadline(time.Now().Add(ReplyTimeout))
	if err := secure.Handshake(); err != nil {
		conn.Close()
		return nil, err
	}
	secure.SetDeadline(time.Time{})
	return secure, nil
}

// UpgradeRequest is the head with which Tailscale's clients ask for DERP, and further header lines.
func UpgradeRequest(r *Relay, headers ...string) string {
	lines := []string{"GET /derp HTTP/1.1", "Host: " + r.Addr(), "Upgrade: DERP", "Connection: Upgrade"}
	for _, header := range headers {
		name, _, _ := strings.Cut(header, ":")
		if strings.EqualFold(name, "Upgrade") {
			lines[2] = header
		} else {
			lines = append(lines, header)
		}
	}
	return strings.Join(lines, "\r\n") + "\r\n\r\n"
}

// Wire opens a connection, upgrades it to DERP, and reads the server's key.
func (r *Relay) Wire(t testing.TB, headers ...string) *Wire {
	t.Helper()
	wire := r.BareWire(t)
	wire.WriteString(t, UpgradeRequest(r, headers...))
	response := wire.ReadResponse(t)
	if response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("upgrade: %s", response.Status)
	}
	wire.ReadServerKey(t)
	return wire
}

// BareWire opens a connection and says nothing on it.
func (r *Relay) BareWire(t testing.TB) *Wire {
	t.Helper()
	conn, err := r.Dial(nil)
	if err != nil {
		t.Fatalf("dialing %s: %v", r.Kind, err)
	}
	t.Cleanup(func() { conn.Close() })
	return &Wire{Conn: conn, Reader: bufio.NewReader(conn), Key: key.NewNode()}
}

// ReadResponse reads the head of an HTTP answer.
func (w *Wire) ReadResponse(t testing.TB) *http.Response {
	t.Helper()
	w.SetReadDeadline(time.Now().Add(ReplyTimeout))
	response, err := http.ReadResponse(w.Reader, nil)
	if err != nil {
		t.Fatalf("reading an HTTP answer: %v", err)
	}
	return response
}

// WriteString writes bytes as they are.
func (w *Wire) WriteString(t testing.TB, text string) {
	t.Helper()
	if _, err := io.WriteString(w.Conn, text); err != nil {
		t.Fatal(err)
	}
}

// Frame builds a frame.
func Frame(kind byte, body ...[]byte) []byte {
	frame := []byte{kind, 0, 0, 0, 0}
	for _, part := range body {
		frame = append(frame, part...)
	}
	binary.BigEndian.PutUint32(frame[1:], uint32(len(frame)-5))
	return frame
}

// WriteFrame writes one frame. A relay that has already closed the connection is no error here:
// what it did before that is what the test looks at.
func (w *Wire) WriteFrame(kind byte, body ...[]byte) {
	w.SetWriteDeadline(time.Now().Add(ReplyTimeout))
	w.Write(Frame(kind, body...))
}

// ReadFrame reads one frame.
func (w *Wire) ReadFrame(timeout time.Duration) (kind byte, body []byte, err error) {
	w.SetReadDeadline(time.Now().Add(timeout))
	var head [5]byte
	if _, err := io.ReadFull(w.Reader, head[:]); err != nil {
		return 0, nil, err
	}
	length := binary.BigEndian.Uint32(head[1:])
	if length > 1<<20 {
		return 0, nil, fmt.Errorf("frame 0x%02x of %d bytes", head[0], length)
	}
	body = make([]byte, length)
	_, err = io.ReadFull(w.Reader, body)
	return head[0], body, err
}

// WantFrame reads one frame of this kind; keepalives may come before it.
func (w *Wire) WantFrame(t testing.TB, want byte) []byte {
	t.Helper()
	for {
		kind, body, err := w.ReadFrame(ReplyTimeout)
		if err != nil {
			t.Fatalf("waiting for frame 0x%02x: %v", want, err)
		}
		if kind == want {
			return body
		}
		if kind != FrameKeepAlive {
			t.Fatalf("got frame 0x%02x of %d bytes, want 0x%02x", kind, len(body), want)
		}
	}
}

// WantClosed expects that the relay closes the connection without a further frame.
func (w *Wire) WantClosed(t testing.TB, timeout time.Duration) {
	t.Helper()
	for {
		kind, body, err := w.ReadFrame(timeout)
		if IsTimeout(err) {
			t.Fatalf("the connection is still open after %v", timeout)
		}
		if err != nil {
			return
		}
		if kind != FrameKeepAlive {
			t.Fatalf("got frame 0x%02x of %d bytes, want the end of the connection", kind, len(body))
		}
	}
}

// ReadServerKey reads the first frame of the server.
func (w *Wire) ReadServerKey(t testing.TB) {
	t.Helper()
	body := w.WantFrame(t, FrameServerKey)
	if len(body) < 40 || string(body[:8]) != Magic {
		t.Fatalf("server key frame %x", body)
	}
	w.ServerKey = PublicKey(body[8:40])
}

// ClientInfo builds the body of a ClientInfo frame with this JSON.
func (w *Wire) ClientInfo(json string) []byte {
	box := w.Key.SealTo(w.ServerKey, []byte(json))
	return append(w.Key.Public().AppendTo(nil), box...)
}

// Login sends ClientInfo with this JSON and returns the JSON of ServerInfo.
func (w *Wire) Login(t testing.TB, json string) string {
	t.Helper()
	w.WriteFrame(FrameClientInfo, w.ClientInfo(json))
	info, ok := w.Key.OpenFrom(w.ServerKey, w.WantFrame(t, FrameServerInfo))
	if !ok {
		t.Fatal("cannot open the box of ServerInfo")
	}
	return string(info)
}

// WantAlive expects that the relay still answers on this connection.
func (w *Wire) WantAlive(t testing.TB) {
	t.Helper()
	ping := []byte("is alive")
	w.WriteFrame(FramePing, ping)
	if pong := w.WantFrame(t, FramePong); string(pong) != string(ping) {
		t.Fatalf("pong %x, want %x", pong, ping)
	}
}

// IsTimeout says whether a read ended because its time was over.
func IsTimeout(err error) bool {
	timeout, ok := err.(net.Error)
	return ok && timeout.Timeout()
}
