//go:build !coder

// The parts of Tailscale's client library whose form differs between its versions: here the newest.

package harness

import (
	"bytes"
	"testing"

	"tailscale.com/derp"
	"tailscale.com/derp/derphttp"
	"tailscale.com/net/netmon"
	"tailscale.com/types/key"
)

func derpOptions(options ClientOptions) []derp.ClientOpt {
	list := []derp.ClientOpt{derp.IsProber(options.Prober), derp.CanAckPings(options.CanAckPings)}
	if options.MeshKey != "" {
		list = append(list, derp.MeshKey(parseMeshKey(options.MeshKey)))
	}
	return list
}

func parseMeshKey(text string) key.DERPMesh {
	meshKey, err := key.ParseDERPMesh(text)
	if err != nil {
		panic(err)
	}
	return meshKey
}

func plainMessage(message derp.ReceivedMessage) any {
	switch message := message.(type) {
	case derp.ReceivedPacket:
		return Packet{From: message.Source, Data: bytes.Clone(message.Data)}
	case derp.PeerGoneMessage:
		return Gone{Peer: message.Peer, Reason: GoneReason(message.Reason)}
	case derp.PeerPresentMessage:
		return Present{Key: message.Key, Addr: message.IPPort, Flags: byte(message.Flags)}
	case derp.PongMessage:
		return Pong(message)
	default:
		return message
	}
}

// HTTPClient makes Tailscale's self-connecting client for a relay; it connects at its first use.
func (r *Relay) HTTPClient(t testing.TB, private key.NodePrivate, meshKey string) *derphttp.Client {
	t.Helper()
	client, err := derphttp.NewClient(private, r.URL("/derp"), t.Logf, netmon.NewStatic())
	if err != nil {
		t.Fatal(err)
	}
	client.TLSConfig = ClientTLS(r.ServerName)
	if meshKey != "" {
		client.MeshKey = parseMeshKey(meshKey)
	}
	t.Cleanup(func() { client.Close() })
	return client
}
