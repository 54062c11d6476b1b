// Tailscale's derphttp client, which connects, upgrades and starts fast by itself.

package conformance

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"testing"
	"time"

	"tailscale.com/derp"
	"tailscale.com/derp/derphttp"
	"tailscale.com/types/key"

	"towline.test/interop/harness"
)

// The scenario of derphttp's TestSendRecv: over TLS 1.3 (fast start), TLS 1.2 (without) and plain HTTP.
func TestHTTPSendRecv(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		options    harness.Options
		tlsVersion uint16
	}{
		"TLS 1.3": {harness.Options{}, tls.VersionTLS13},
		"TLS 1.2": {harness.Options{}, tls.VersionTLS12},
		"plain":   {harness.Options{Plain: true}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			relay := harness.Start(t, c.options)
			var clients []*derphttp.Client
			for i := range 3 {
				client := relay.HTTPClient(t, key.NewNode(), "")
				client.TLSConfig.MaxVersion = c.tlsVersion
				if err := client.Connect(t.Context()); err != nil {
					t.Fatalf("client %d: %v", i, err)
				}
				wantServerInfo(t, client)
				if state, ok := client.TLSConnectionState(); ok && state.Version != c.tlsVersion {
					t.Errorf("TLS version %x", state.Version)
				}
				clients = append(clients, client)
			}
			for from := range clients {
				for to := range clients {
					text := fmt.Appendf(nil, "hello %d->%d", from, to)
					if err := clients[from].Send(clients[to].SelfPublicKey(), text); err != nil {
						t.Fatal(err)
					}
					wantHTTPPacket(t, clients[to], clients[from].SelfPublicKey(), text)
				}
			}
		})
	}
}

// A relay that restarts is found again by its clients.
func TestHTTPReconnect(t *testing.T) {
	t.Parallel()
	relay := harness.Start(t, harness.Options{})
	client := relay.HTTPClient(t, key.NewNode(), "")
	for range 3 {
		if err := client.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantServerInfo(t, client)
		text := []byte("hello")
		if err := client.Send(client.SelfPublicKey(), text); err != nil {
			t.Fatal(err)
		}
		wantHTTPPacket(t, client, client.SelfPublicKey(), text)
		relay.Kill()
		if _, err := client.Recv(); err == nil {
			t.Fatal("the client did not notice the end of the relay")
		}
		relay = harness.Start(t, harness.Options{Like: relay})
	}
}

func wantServerInfo(t *testing.T, client *derphttp.Client) {
	t.Helper()
	message, err := receive(client)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := message.(derp.ServerInfoMessage); !ok {
		t.Fatalf("first message is %T", message)
	}
}

func wantHTTPPacket(t *testing.T, client *derphttp.Client, from key.NodePublic, data []byte) {
	t.Helper()
	message, err := receive(client)
	if err != nil {
		t.Fatal(err)
	}
	packet, ok := message.(derp.ReceivedPacket)
	if !ok || packet.Source != from || !bytes.Equal(packet.Data, data) {
		t.Fatalf("got %T, want a packet of %d bytes", message, len(data))
	}
}

// receive is Recv with a limit: the client itself waits two minutes.
func receive(client *derphttp.Client) (message derp.ReceivedMessage, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { client.Close() })
	defer stop()
	return client.Recv()
}
