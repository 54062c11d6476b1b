// Frames after the handshake: what is skipped, what ends the connection.

package conformance

import (
	"testing"

	"tailscale.com/types/key"

	"towline.test/interop/harness"
)

// Frames of later versions, and those that only a server sends, are skipped whatever their length.
func TestUnknownFramesAreSkipped(t *testing.T) {
	t.Parallel()
	relay := harness.Start(t, harness.Options{})
	wire := relay.Wire(t)
	wire.Login(t, `{"version":2}`)
	for _, kind := range []byte{
		0x00, harness.FrameServerKey, harness.FrameClientInfo, harness.FrameServerInfo, harness.FrameRecvPacket,
		harness.FrameKeepAlive, harness.FramePeerGone, harness.FramePeerPresent, 0x0b, harness.FramePong, 0x14, 0x15, 0x16, 0x7f, 0xff,
	} {
		for _, length := range []int{0, 1, 5, 40, 3000, 100 << 10} {
			wire.WriteFrame(kind, make([]byte, length))
		}
		wire.WantAlive(t)
	}
}

// A frame whose length cannot be ends the connection; the other client of the relay goes on.
func TestBadFrames(t *testing.T) {
	t.Parallel()
	relay := harness.Start(t, harness.Options{Mesh: true})
	other := relay.Connect(t, "other", harness.ClientOptions{})
	meshInfo := `{"version":2,"meshKey":"` + harness.MeshKey + `"}`
	for _, c := range []struct {
		name string
		info string
		kind byte
		body int
	}{
		{"note preferred of 0 bytes", `{}`, harness.FrameNotePreferred, 0},
		{"note preferred of 2 bytes", `{}`, harness.FrameNotePreferred, 2},
		{"ping of 7 bytes", `{}`, harness.FramePing, 7},
		{"ping of 1001 bytes", `{}`, harness.FramePing, 1001},
		{"packet without destination", `{}`, harness.FrameSendPacket, 31},
		{"packet above the limit", `{}`, harness.FrameSendPacket, 32 + harness.MaxPacketBytes + 1},
		{"watch of 1 byte", meshInfo, harness.FrameWatchConns, 1},
		{"close of 31 bytes", meshInfo, harness.FrameClosePeer, 31},
		{"close of 33 bytes", meshInfo, harness.FrameClosePeer, 33},
		{"forward without destination", meshInfo, harness.FrameForwardPacket, 63},
		{"forward above the limit", meshInfo, harness.FrameForwardPacket, 64 + harness.MaxPacketBytes + 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			wire := relay.Wire(t)
			wire.Login(t, c.info)
			wire.WriteFrame(c.kind, make([]byte, c.body))
			wire.WantClosed(t, harness.ReplyTimeout)
			other.WantAlive(t)
		})
	}
}

// The largest legal frames of a mesh peer.
func TestLargestForward(t *testing.T) {
	t.Parallel()
	relay := harness.Start(t, harness.Options{Mesh: true})
	mesh := relay.Connect(t, "mesh", harness.ClientOptions{MeshKey: harness.MeshKey})
	client := relay.Connect(t, "client", harness.ClientOptions{})
	packet := make([]byte, harness.MaxPacketBytes)
	source := key.NewNode().Public()
	if err := mesh.ForwardPacket(source, client.Pub, packet); err != nil {
		t.Fatal(err)
	}
	client.WantPacket(t, source, packet)
}
