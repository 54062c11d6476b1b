// DERP inside a WebSocket with the sub-protocol "derp", as browsers and Coder's clients speak it.

package conformance

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"io"
	"testing"

	"github.com/coder/websocket"
	"tailscale.com/types/key"

	"towline.test/interop/harness"
)

func TestWebSocketSendRecv(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]harness.Options{"TLS": {}, "plain": {Plain: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			relay := harness.Start(t, options)
			browser := relay.Connect(t, "browser", harness.ClientOptions{WebSocket: true})
			other := relay.Connect(t, "other browser", harness.ClientOptions{WebSocket: true})
			native := relay.Connect(t, "native", harness.ClientOptions{})
			for _, size := range webSocketSizes(relay) {
				packet := make([]byte, size)
				rand.Read(packet)
				browser.SendTo(t, native.Pub, packet)
				native.WantPacket(t, browser.Pub, packet)
				native.SendTo(t, browser.Pub, packet)
				browser.WantPacket(t, native.Pub, packet)
				browser.SendTo(t, other.Pub, packet)
				other.WantPacket(t, browser.Pub, packet)
			}
			if err := stream(browser, other, 500, 16); err != nil {
				t.Error(err)
			}
			browser.WantAlive(t)
			browser.NotePreferred(true)
			relay.WaitMetrics(t, map[string]float64{
				"derp_websocket_accepts":        2,
				"derp_current_connections":      3,
				"derp_current_home_connections": 1,
			})
			browser.Close()
			native.WantGone(t, browser.Pub, harness.GoneDisconnected)
			relay.WaitMetric(t, "derp_current_connections", 2)
		})
	}
}

// webSocketSizes are sizes of packets around the steps of WebSocket's length fields. A client writes a
// large packet as one message, and derper refuses messages above 32 KiB; ours takes whatever DERP allows.
func webSocketSizes(relay *harness.Relay) []int {
	sizes := []int{0, 1, 84, 85, 86, 88, 89, 125, 126, 1400, 4059, 4096, 20000, 32000}
	if relay.Kind == harness.Towline {
		sizes = append(sizes, 32768, 65493, 65494, 65535, harness.MaxPacketBytes)
	}
	return sizes
}

// socket is a WebSocket whose messages the test cuts itself.
type socket struct {
	*websocket.Conn
	*harness.Wire // its net.Conn is nil: only keys and boxes are used
	received      bytes.Buffer
}

func dialSocket(t *testing.T, relay *harness.Relay) *socket {
	t.Helper()
	conn, err := relay.DialWebSocket(nil, "derp")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.CloseNow() })
	if got := conn.Subprotocol(); got != "derp" {
		t.Fatalf("sub-protocol %q", got)
	}
	s := &socket{Conn: conn, Wire: &harness.Wire{Key: key.NewNode()}}
	kind, body := s.frame(t)
	if kind != harness.FrameServerKey || len(body) < 40 {
		t.Fatalf("first frame is 0x%02x of %d bytes", kind, len(body))
	}
	s.ServerKey = harness.PublicKey(body[8:40])
	return s
}

func (s *socket) message(t *testing.T, body []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), harness.ReplyTimeout)
	defer cancel()
	if err := s.Conn.Write(ctx, websocket.MessageBinary, body); err != nil {
		t.Fatal(err)
	}
}

// frame reads one DERP frame, wherever messages begin and end.
func (s *socket) frame(t *testing.T) (kind byte, body []byte) {
	t.Helper()
	s.fill(t, 5)
	head := s.received.Next(5)
	kind, length := head[0], int(binary.BigEndian.Uint32(head[1:]))
	s.fill(t, length)
	return kind, bytes.Clone(s.received.Next(length))
}

func (s *socket) fill(t *testing.T, want int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), harness.ReplyTimeout)
	defer cancel()
	for s.received.Len() < want {
		kind, body, err := s.Conn.Read(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if kind != websocket.MessageBinary {
			t.Fatalf("message of type %v", kind)
		}
		s.received.Write(body)
	}
}

// Frames may be cut into messages anywhere, and messages may hold several frames.
func TestWebSocketMessageBoundaries(t *testing.T) {
	t.Parallel()
	relay := harness.Start(t, harness.Options{})
	for _, cut := range []int{1, 3, 7, 100, 1 << 20} {
		s := dialSocket(t, relay)
		self := s.Key.Public().AppendTo(nil)
		login := harness.Frame(harness.FrameClientInfo, s.ClientInfo(`{"version":2}`))
		packets := bytes.Repeat(harness.Frame(harness.FrameSendPacket, self, []byte("some bytes")), 10)
		all := append(login, packets...)
		for len(all) > 0 {
			n := min(cut, len(all))
			s.message(t, all[:n])
			all = all[n:]
		}
		s.message(t, nil) // an empty message means nothing
		if kind, _ := s.frame(t); kind != harness.FrameServerInfo {
			t.Fatalf("cut %d: got frame 0x%02x, want ServerInfo", cut, kind)
		}
		for range 10 {
			kind, body := s.frame(t)
			if kind != harness.FrameRecvPacket || string(body) != string(self)+"some bytes" {
				t.Fatalf("cut %d: got frame 0x%02x of %d bytes", cut, kind, len(body))
			}
		}
	}
}

// One message in several WebSocket fragments, with a ping between them.
func TestWebSocketFragmentsAndControl(t *testing.T) {
	t.Parallel()
	relay := harness.Start(t, harness.Options{})
	s := dialSocket(t, relay)
	ctx, cancel := context.WithTimeout(t.Context(), harness.ReplyTimeout)
	defer cancel()
	s.message(t, harness.Frame(harness.FrameClientInfo, s.ClientInfo(`{"version":2}`)))
	if kind, _ := s.frame(t); kind != harness.FrameServerInfo {
		t.Fatalf("got frame 0x%02x", kind)
	}
	writer, err := s.Conn.Writer(ctx, websocket.MessageBinary)
	if err != nil {
		t.Fatal(err)
	}
	ping := harness.Frame(harness.FramePing, []byte("in parts"))
	pong := make(chan error, 1)
	go func() { pong <- s.Conn.Ping(ctx) }() // its answer is read below
	for i := range ping {
		if _, err := writer.Write(ping[i : i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	if kind, body := s.frame(t); kind != harness.FramePong || string(body) != "in parts" {
		t.Fatalf("got frame 0x%02x %q", kind, body)
	}
	go s.Conn.Read(ctx) // for the pong, when it comes after the frame
	if err := <-pong; err != nil {
		t.Errorf("WebSocket ping: %v", err)
	}
}

// Closing handshake: the client disappears, and the answer is a close message.
func TestWebSocketClose(t *testing.T) {
	t.Parallel()
	relay := harness.Start(t, harness.Options{})
	s := dialSocket(t, relay)
	s.message(t, harness.Frame(harness.FrameClientInfo, s.ClientInfo(`{"version":2}`)))
	if kind, _ := s.frame(t); kind != harness.FrameServerInfo {
		t.Fatalf("got frame 0x%02x", kind)
	}
	relay.WaitMetric(t, "derp_current_connections", 1)
	if err := s.Conn.Close(websocket.StatusNormalClosure, "bye"); err != nil && err != io.EOF {
		t.Errorf("closing handshake: %v", err)
	}
	relay.WaitMetric(t, "derp_current_connections", 0)
}

// DERP speaks binary: a text message ends the connection.
func TestWebSocketText(t *testing.T) {
	t.Parallel()
	relay := harness.Start(t, harness.Options{})
	s := dialSocket(t, relay)
	ctx, cancel := context.WithTimeout(t.Context(), harness.ReplyTimeout)
	defer cancel()
	if err := s.Conn.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Conn.Read(ctx); err == nil || ctx.Err() != nil {
		t.Fatalf("after a text message: %v, want the end of the connection", err)
	}
}

// The sub-protocol may be one of several that the client offers.
func TestWebSocketProtocols(t *testing.T) {
	t.Parallel()
	relay := harness.Start(t, harness.Options{})
	for _, offered := range [][]string{{"derp"}, {"chat", "derp"}, {"derp", "chat"}} {
		conn, err := relay.DialWebSocket(nil, offered...)
		if err != nil {
			t.Fatalf("offered %q: %v", offered, err)
		}
		if got := conn.Subprotocol(); got != "derp" {
			t.Errorf("offered %q: chosen %q", offered, got)
		}
		conn.CloseNow()
	}
	relay.WaitMetric(t, "derp_websocket_accepts", 3)
}
