// Pings, through every client there is.

package conformance

import (
	"context"
	"strings"
	"testing"
	"time"

	"tailscale.com/types/key"

	"towline.test/interop/harness"
)

// The scenario of Tailscale's TestServerRepliesToPing.
func TestServerRepliesToPing(t *testing.T) {
	t.Parallel()
	relay := harness.Start(t, harness.Options{})
	alice := relay.Connect(t, "alice", harness.ClientOptions{})
	for number := range byte(100) {
		ping := [8]byte{1, 2, 3, 4, 5, 6, 7, number}
		if err := alice.SendPing(ping); err != nil {
			t.Fatal(err)
		}
		if message := alice.Next(t); message != harness.Pong(ping) {
			t.Fatalf("got %v, want the pong of %v", message, ping)
		}
	}
	relay.WaitMetrics(t, map[string]float64{"derp_got_ping": 100, "derp_sent_pong": 100})
}

// The scenario of derphttp's TestPing, over both forms of HTTP.
func TestPing(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]harness.Options{"TLS": {}, "plain": {Plain: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			relay := harness.Start(t, options)
			client := relay.HTTPClient(t, key.NewNode(), "")
			ctx, cancel := context.WithTimeout(context.Background(), harness.ReplyTimeout)
			defer cancel()
			if err := client.Connect(ctx); err != nil {
				t.Fatal(err)
			}
			if got := client.ServerPublicKey(); got != relay.Key.Public() {
				t.Errorf("server key %v, want %v", got, relay.Key.Public())
			}
			go func() {
				for {
					if _, err := client.Recv(); err != nil {
						return
					}
				}
			}()
			for range 3 {
				if err := client.Ping(ctx); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// A ping may be longer than its eight bytes, up to 1000, for the sake of later versions.
func TestLongPing(t *testing.T) {
	t.Parallel()
	relay := harness.Start(t, harness.Options{})
	wire := relay.Wire(t)
	wire.Login(t, `{"version":2}`)
	for _, extra := range []int{0, 1, 100, 992} {
		wire.WriteFrame(harness.FramePing, []byte("12345678"), []byte(strings.Repeat("x", extra)))
		if pong := wire.WantFrame(t, harness.FramePong); string(pong) != "12345678" {
			t.Fatalf("%d extra bytes: pong %q", extra, pong)
		}
	}
}

// A flood of pings is answered with at least one pong and harms nobody; derper answers as many as it gets round to.
func TestPingFlood(t *testing.T) {
	t.Parallel()
	relay := harness.Start(t, harness.Options{})
	flooder := relay.Connect(t, "flooder", harness.ClientOptions{})
	other := relay.Connect(t, "other", harness.ClientOptions{})
	for number := range 5000 {
		if err := flooder.SendPing([8]byte{byte(number >> 8), byte(number)}); err != nil {
			t.Fatal(err)
		}
	}
	other.WantAlive(t)
	pongs := 0
	for {
		message, ok, err := flooder.Receive(300 * time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		if _, isPong := message.(harness.Pong); !isPong {
			t.Fatalf("got %T", message)
		}
		pongs++
	}
	if pongs == 0 {
		t.Error("no pong at all")
	}
	flooder.WantAlive(t)
}
