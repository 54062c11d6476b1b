// The handshake on the wire: what comes first, what is refused, how it may be cut into pieces.

package conformance

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"towline.test/interop/harness"
)

// Fast start: the client knows the server's key from the meta certificate, so the server sends no
// HTTP answer at all; its key frame comes nevertheless, and then the server's info.
func TestFastStart(t *testing.T) {
	t.Parallel()
	relay := harness.Start(t, harness.Options{})
	wire := relay.BareWire(t)
	wire.ServerKey = metaKey(t, wire.Conn.(*tls.Conn).ConnectionState())
	if wire.ServerKey != relay.Key.Public() {
		t.Fatalf("the meta certificate names %v, want %v", wire.ServerKey, relay.Key.Public())
	}
	// Request and ClientInfo leave in one write, as a client in a hurry does it.
	request := harness.UpgradeRequest(relay, "Derp-Fast-Start: 1")
	info := harness.Frame(harness.FrameClientInfo, wire.ClientInfo(`{"version":2}`))
	wire.WriteString(t, request+string(info))

	first, err := wire.Reader.Peek(5)
	if err != nil {
		t.Fatal(err)
	}
	if first[0] != harness.FrameServerKey {
		t.Fatalf("the first bytes are %q, want the header of ServerKey", first)
	}
	fromFrame := wire.WantFrame(t, harness.FrameServerKey)
	if harness.PublicKey(fromFrame[8:40]) != wire.ServerKey {
		t.Fatal("the key frame names another key than the meta certificate")
	}
	box := wire.WantFrame(t, harness.FrameServerInfo)
	if _, ok := wire.Key.OpenFrom(wire.ServerKey, box); !ok {
		t.Fatal("cannot open the server's info")
	}
	wire.WantAlive(t)
}

// Without fast start, the answer names protocol version and key.
func TestUpgradeAnswer(t *testing.T) {
	t.Parallel()
	tlsRelay := harness.Start(t, harness.Options{})
	plainRelay := harness.Start(t, harness.Options{Plain: true})
	for _, relay := range []*harness.Relay{tlsRelay, plainRelay} {
		for _, headers := range [][]string{
			nil,
			{"Upgrade: derp"},
			{"Derp-Fast-Start: 0"},
			{"Derp-Fast-Start: true"},
			{"Upgrade: WebSocket"}, // early clients: raw DERP all the same
			{"Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13"},
			{"Upgrade: websocket", "Sec-WebSocket-Protocol: chat"},
		} {
			wire := relay.BareWire(t)
			wire.WriteString(t, harness.UpgradeRequest(relay, headers...))
			response := wire.ReadResponse(t)
			for name, want := range map[string]string{
				"Upgrade":         "DERP",
				"Connection":      "Upgrade",
				"Derp-Version":    "2",
				"Derp-Public-Key": relay.Key.Public().UntypedHexString(),
			} {
				if got := response.Header.Get(name); got != want {
					t.Errorf("headers %q: %s is %q, want %q", headers, name, got, want)
				}
			}
			if response.StatusCode != http.StatusSwitchingProtocols || response.Proto != "HTTP/1.1" {
				t.Errorf("headers %q: answer %s %s", headers, response.Proto, response.Status)
			}
			wire.ReadServerKey(t)
			if info := wire.Login(t, `{"version":2,"CanAckPings":true}`); info != `{"version":2}` {
				t.Errorf("server info %s, want {\"version\":2}", info)
			}
			wire.WantAlive(t)
		}
	}
}

// The JSON of ClientInfo: names in any case, unknown ones skipped, one of ts_derp's among them.
func TestClientInfoForms(t *testing.T) {
	t.Parallel()
	relay := harness.Start(t, harness.Options{Mesh: true})
	for _, info := range []string{
		`{}`,
		`{"version":2}`,
		`{"Version":2,"canackpings":true,"ISPROBER":false,"appName":"x"}`,
		`{"version":2,"CanAckPings":true,"AppName":"interop","Future":{"nested":[1,2,{"a":null}]}}`,
		`{"can_ack_pings":false,"is_prober":false,"mesh_key":"none","version":2}`,
		`{"version":99}`,
		" {\n\t\"version\" : 2 }\n",
		`{"meshKey":"` + harness.MeshKey + `","version":2}`,
		`{"meshKey":"` + strings.Repeat("ab", 32) + `","version":2}`,
		`{"version":2,"x":"` + strings.Repeat("y", 200<<10) + `"}`,
	} {
		wire := relay.Wire(t)
		wire.Login(t, info)
		wire.WantAlive(t)
	}
}

// What is no ClientInfo ends the connection before any answer.
func TestBadClientInfo(t *testing.T) {
	t.Parallel()
	relay := harness.Start(t, harness.Options{Mesh: true})
	type attempt func(*harness.Wire)
	info := func(json string) attempt {
		return func(w *harness.Wire) { w.WriteFrame(harness.FrameClientInfo, w.ClientInfo(json)) }
	}
	for name, attempt := range map[string]attempt{
		"no JSON":              info(`version 2`),
		"cut JSON":             info(`{"version":2`),
		"empty":                info(``),
		"wrong type":           info(`{"version":"two"}`),
		"short mesh key":       info(`{"meshKey":"abcdef","version":2}`),
		"long mesh key":        info(`{"meshKey":"` + harness.MeshKey + `ff","version":2}`),
		"mesh key not hex":     info(`{"meshKey":"` + strings.Repeat("zz", 32) + `","version":2}`),
		"too short":            func(w *harness.Wire) { w.WriteFrame(harness.FrameClientInfo, make([]byte, 55)) },
		"too long":             func(w *harness.Wire) { w.WriteFrame(harness.FrameClientInfo, make([]byte, 256<<10+1)) },
		"box of nothing":       func(w *harness.Wire) { w.WriteFrame(harness.FrameClientInfo, make([]byte, 56)) },
		"forged box":           func(w *harness.Wire) { w.WriteFrame(harness.FrameClientInfo, make([]byte, 200)) },
		"another frame first":  func(w *harness.Wire) { w.WriteFrame(harness.FramePing, make([]byte, 8)) },
		"no frame, but HTTP":   func(w *harness.Wire) { w.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")) },
		"sealed for another":   func(w *harness.Wire) { w.ServerKey = w.Key.Public(); info(`{"version":2}`)(w) },
		"length beyond bounds": func(w *harness.Wire) { w.Write([]byte{harness.FrameClientInfo, 0xff, 0xff, 0xff, 0xff}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wire := relay.Wire(t)
			attempt(wire)
			wire.WantClosed(t, 12*time.Second)
		})
	}
	t.Run("afterwards", func(t *testing.T) {
		relay.Connect(t, "client", harness.ClientOptions{}).WantAlive(t)
	})
}

// The whole handshake, one byte at a time.
func TestHandshakeByteByByte(t *testing.T) {
	t.Parallel()
	for _, plain := range []bool{false, true} {
		t.Run(fmt.Sprintf("plain=%v", plain), func(t *testing.T) {
			t.Parallel()
			relay := harness.Start(t, harness.Options{Plain: plain})
			wire := relay.BareWire(t)
			trickle := func(bytes []byte) {
				for i := range bytes {
					if _, err := wire.Write(bytes[i : i+1]); err != nil {
						t.Fatal(err)
					}
					time.Sleep(200 * time.Microsecond)
				}
			}
			trickle([]byte(harness.UpgradeRequest(relay)))
			wire.ReadResponse(t)
			wire.ReadServerKey(t)
			trickle(harness.Frame(harness.FrameClientInfo, wire.ClientInfo(`{"version":2}`)))
			wire.WantFrame(t, harness.FrameServerInfo)
			self := wire.Key.Public().AppendTo(nil)
			trickle(harness.Frame(harness.FrameSendPacket, self, []byte("slowly")))
			if got := wire.WantFrame(t, harness.FrameRecvPacket); string(got) != string(self)+"slowly" {
				t.Errorf("got %q", got)
			}
		})
	}
}

// Everything after the upgrade in one write: frames that follow ClientInfo at once are not lost.
func TestHandshakeAtOnce(t *testing.T) {
	t.Parallel()
	relay := harness.Start(t, harness.Options{})
	wire := relay.Wire(t)
	self := wire.Key.Public().AppendTo(nil)
	burst := harness.Frame(harness.FrameClientInfo, wire.ClientInfo(`{"version":2}`))
	for number := range byte(20) {
		burst = append(burst, harness.Frame(harness.FrameSendPacket, self, []byte{number})...)
	}
	wire.WriteString(t, string(burst))
	wire.WantFrame(t, harness.FrameServerInfo)
	for number := range byte(20) {
		if got := wire.WantFrame(t, harness.FrameRecvPacket); string(got) != string(self)+string([]byte{number}) {
			t.Fatalf("packet %d is %q", number, got)
		}
	}
}
