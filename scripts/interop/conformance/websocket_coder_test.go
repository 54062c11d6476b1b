//go:build coder

// Coder's derphttp client over a WebSocket: forced, and as the fallback after an upgrade that a proxy spoiled.

package conformance

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"tailscale.com/types/key"

	"towline.test/interop/harness"
)

func TestForcedWebSocket(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]harness.Options{"TLS": {}, "plain": {Plain: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			relay := harness.Start(t, options)
			forced := relay.HTTPClient(t, key.NewNode(), "")
			forced.ForceWebsockets = true
			if err := forced.Connect(t.Context()); err != nil {
				t.Fatal(err)
			}
			wantServerInfo(t, forced)
			native := relay.HTTPClient(t, key.NewNode(), "")
			if err := native.Connect(t.Context()); err != nil {
				t.Fatal(err)
			}
			wantServerInfo(t, native)
			for number := range 50 {
				text := fmt.Appendf(nil, "%d %s", number, strings.Repeat("x", number*100))
				if err := forced.Send(native.SelfPublicKey(), text); err != nil {
					t.Fatal(err)
				}
				wantHTTPPacket(t, native, forced.SelfPublicKey(), text)
				if err := native.Send(forced.SelfPublicKey(), text); err != nil {
					t.Fatal(err)
				}
				wantHTTPPacket(t, forced, native.SelfPublicKey(), text)
			}
			relay.WaitMetric(t, "derp_websocket_accepts", 1)
		})
	}
}

// A proxy that lets only WebSockets through, as corporate ones do.
func TestWebSocketFallback(t *testing.T) {
	t.Parallel()
	relay := harness.Start(t, harness.Options{Plain: true})
	target, err := url.Parse(relay.URL("/"))
	if err != nil {
		t.Fatal(err)
	}
	forward := httputil.NewSingleHostReverseProxy(target)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
			http.Error(w, "no such upgrade here", http.StatusBadRequest)
			return
		}
		forward.ServeHTTP(w, r)
	}))
	defer proxy.Close()

	client := relay.HTTPClientAt(t, proxy.URL+"/derp", key.NewNode())
	reasons := make(chan string, 1)
	client.SetForcedWebsocketCallback(func(region int, reason string) { reasons <- reason })
	if err := client.Connect(t.Context()); err == nil {
		t.Fatal("the spoiled upgrade was no error")
	}
	t.Logf("falls back: %s", <-reasons)
	if err := client.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantServerInfo(t, client)
	if err := client.Send(client.SelfPublicKey(), []byte("through the proxy")); err != nil {
		t.Fatal(err)
	}
	wantHTTPPacket(t, client, client.SelfPublicKey(), []byte("through the proxy"))
}
