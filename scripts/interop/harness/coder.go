//go:build coder

// The same as stock.go for Coder's fork of the client library, which is older than the newest original.

package harness

import (
	"bytes"
	"testing"

	"tailscale.com/derp"
	"tailscale.com/derp/derphttp"
	"tailscale.com/types/key"
)

func derpOptions(options ClientOptions) []derp.ClientOpt {
	return []derp.ClientOpt{derp.IsProber(options.Prober), derp.CanAckPings(options.CanAckPings), derp.MeshKey(options.MeshKey)}
}

func plainMessage(message derp.ReceivedMessage) any {
	switch message := message.(type) {
	case derp.ReceivedPacket:
		return Packet{From: message.Source, Data: bytes.Clone(message.Data)}
	case derp.PeerGoneMessage:
		return Gone{Peer: message.Peer, Reason: GoneReason(message.Reason)}
	case derp.PeerPresentMessage:
		return Present{Key: key.NodePublic(message)}
	case derp.PongMessage:
		return Pong(message)
	default:
		return message
	}
}

// KnowsPresentDetails says whether this version of the client reads address and flags of present peers.
const KnowsPresentDetails = false

// HTTPClient makes Tailscale's self-connecting client for a relay; it connects at its first use.
func (r *Relay) HTTPClient(t testing.TB, private key.NodePrivate, meshKey string) *derphttp.Client {
	t.Helper()
	client, err := derphttp.NewClient(private, r.URL("/derp"), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	client.TLSConfig = ClientTLS(r.ServerName)
	client.MeshKey = meshKey
	t.Cleanup(func() { client.Close() })
	return client
}
