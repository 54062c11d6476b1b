//go:build !coder

// Address and flags of present peers, which older clients do not read.

package conformance

import (
	"net/netip"
	"testing"

	"towline.test/interop/harness"
)

// The notice about a present peer carries its address and what it is.
func TestPresentDetails(t *testing.T) {
	t.Parallel()
	relay := harness.Start(t, harness.Options{Mesh: true})
	watcher := relay.Connect(t, "watcher", harness.ClientOptions{MeshKey: harness.MeshKey})
	if err := watcher.WatchConnectionChanges(); err != nil {
		t.Fatal(err)
	}
	present := watcher.WantPresent(t, watcher.Pub)[watcher.Pub]
	if present.Flags != harness.PresentMesh {
		t.Errorf("flags of a mesh peer are %d", present.Flags)
	}
	for _, c := range []struct {
		name    string
		options harness.ClientOptions
		flags   byte
	}{
		{"regular", harness.ClientOptions{}, harness.PresentRegular},
		{"prober", harness.ClientOptions{Prober: true}, harness.PresentProber},
		{"not ideal", harness.ClientOptions{IdealNode: "1a"}, harness.PresentNotIdeal},
		{"prober, not ideal", harness.ClientOptions{IdealNode: "1a", Prober: true}, harness.PresentProber | harness.PresentNotIdeal},
		{"mesh prober", harness.ClientOptions{MeshKey: harness.MeshKey, Prober: true}, harness.PresentMesh | harness.PresentProber},
		{"websocket", harness.ClientOptions{WebSocket: true}, harness.PresentRegular},
	} {
		client := relay.Connect(t, c.name, c.options)
		present := watcher.WantPresent(t, client.Pub)[client.Pub]
		if present.Flags != c.flags {
			t.Errorf("%s: flags %d, want %d", c.name, present.Flags, c.flags)
		}
		if !c.options.WebSocket {
			if want := netip.MustParseAddrPort(client.Conn.LocalAddr().String()); present.Addr != want {
				t.Errorf("%s: address %v, want %v", c.name, present.Addr, want)
			}
		} else if present.Addr.Addr() != netip.MustParseAddr(relay.Host) {
			t.Errorf("%s: address %v", c.name, present.Addr)
		}
	}
	relay.WaitMetric(t, "derp_current_notideal_connections", 2)
}
