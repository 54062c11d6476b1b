//go:build !coder

// Idle connections are kept alive: Tailscale's clients give up after two silent minutes.

package conformance

import (
	"testing"
	"time"

	"towline.test/interop/harness"
)

// TestKeepAlive is slow: keepalives come 60 to 65 seconds apart.
func TestKeepAlive(t *testing.T) {
	if testing.Short() {
		t.Skip("the quick run does not wait a minute")
	}
	t.Parallel()
	const connections = 12
	relay := harness.Start(t, harness.Options{})
	var wires []*harness.Wire
	for range connections {
		wire := relay.Wire(t)
		wire.Login(t, `{"version":2}`)
		wires = append(wires, wire)
	}
	start := time.Now()
	arrivals := make(chan time.Duration, connections)
	for _, wire := range wires {
		go func() {
			kind, body, err := wire.ReadFrame(70 * time.Second)
			if err != nil || kind != harness.FrameKeepAlive || len(body) != 0 {
				t.Errorf("got frame 0x%02x of %d bytes, %v; want a keepalive", kind, len(body), err)
			}
			arrivals <- time.Since(start)
		}()
	}
	first, last := time.Hour, time.Duration(0)
	for range connections {
		arrival := <-arrivals
		first, last = min(first, arrival), max(last, arrival)
	}
	if first < 58*time.Second || last > 67*time.Second {
		t.Errorf("keepalives came after %v to %v, want 60 to 65 s", first, last)
	}
	if last-first < 200*time.Millisecond {
		t.Errorf("keepalives of %d connections came within %v: no jitter", connections, last-first)
	}
}
