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

// HTTPClient makes Tailscale's self-connecting client for a relay; it connects at its first use.
func (r *Relay) HTTPClient(t testing.TB, private key.NodePrivate, meshKey string) *derphttp.Client {
	t.Helper()
	client := r.HTTPClientAt(t, r.URL("/derp"), private)
	client.MeshKey = meshKey
	return client
}

// HTTPClientAt is the same with another way to the relay, such as a proxy.
func (r *Relay) HTTPClientAt(t testing.TB, url string, private key.NodePrivate) *derphttp.Client {
	t.Helper()
	client, err := derphttp.NewClient(private, url, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	client.TLSConfig = ClientTLS(r.ServerName)
	t.Cleanup(func() { client.Close() })
	return client
}
