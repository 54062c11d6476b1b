//go:build !coder && ts_debug_websockets

// Tailscale's derphttp client over a WebSocket. It can do that only with this build tag, and then
// for all connections of the process, so run.sh runs this test alone, with TS_DEBUG_DERP_WS_CLIENT set.

package conformance

import (
	"os"
	"testing"

	"tailscale.com/types/key"

	"towline.test/interop/harness"
)

func TestDerphttpOverWebSocket(t *testing.T) {
	if os.Getenv("TS_DEBUG_DERP_WS_CLIENT") == "" {
		t.Fatal("TS_DEBUG_DERP_WS_CLIENT is not set")
	}
	relay := harness.Start(t, harness.Options{Mesh: true})
	client := relay.HTTPClient(t, key.NewNode(), harness.MeshKey)
	if err := client.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantServerInfo(t, client)
	for _, size := range webSocketSizes(relay) {
		packet := make([]byte, size)
		if err := client.Send(client.SelfPublicKey(), packet); err != nil {
			t.Fatal(err)
		}
		wantHTTPPacket(t, client, client.SelfPublicKey(), packet)
	}
	relay.WaitMetric(t, "derp_websocket_accepts", 1)
}
