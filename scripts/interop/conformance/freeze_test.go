// A client that stops reading: nobody else notices, and in the end it is disconnected.

package conformance

import (
	"testing"
	"time"

	"towline.test/interop/harness"
)

// The scenario of Tailscale's TestSendFreeze: alice sends to bob and to cathy, and cathy stops reading.
func TestSendFreeze(t *testing.T) {
	t.Parallel()
	relay := harness.Start(t, harness.Options{Args: []string{"-tcp-write-timeout", "1s"}})
	alice := relay.Connect(t, "alice", harness.ClientOptions{})
	bob := relay.Connect(t, "bob", harness.ClientOptions{})
	cathy := relay.Connect(t, "cathy", harness.ClientOptions{ReadBuffer: 16 << 10})

	alice.SendTo(t, bob.Pub, []byte("hello bob"))
	bob.WantPacket(t, alice.Pub, []byte("hello bob"))
	alice.SendTo(t, cathy.Pub, []byte("hello cathy"))
	cathy.WantPacket(t, alice.Pub, []byte("hello cathy"))

	cathy.Freeze()
	// Far more than the kernel takes on both sides: cathy's queue in the relay overflows, and the
	// write timeout ends her connection.
	bulk := make([]byte, 60000)
	deadline := time.Now().Add(15 * time.Second)
	worst := time.Duration(0)
	for rounds := 0; ; rounds++ {
		for range 8 {
			alice.SendTo(t, cathy.Pub, bulk)
		}
		sent := time.Now()
		alice.SendTo(t, bob.Pub, []byte("still there?"))
		bob.WantPacket(t, alice.Pub, []byte("still there?"))
		worst = max(worst, time.Since(sent))
		if relay.Metrics(t)["derp_current_connections"] == 2 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("cathy is still connected after %d rounds", rounds)
		}
	}
	if worst > 2*time.Second {
		t.Errorf("a packet to bob took %v while cathy was frozen", worst)
	}
	bob.WantNothing(t, 100*time.Millisecond)
	relay.WaitMetric(t, "derp_sclient_write_timeouts", 1)
	metrics := relay.Metrics(t)
	if metrics[`derp_packets_dropped{kind="other",reason="queue_head"}`] == 0 {
		t.Error("no packet was counted as dropped at the head of cathy's queue")
	}
	alice.SendTo(t, bob.Pub, []byte("bye"))
	bob.WantPacket(t, alice.Pub, []byte("bye"))
}

// A client that pauses for less than the write timeout loses packets but not its connection.
func TestShortFreeze(t *testing.T) {
	t.Parallel()
	relay := harness.Start(t, harness.Options{Args: []string{"-tcp-write-timeout", "30s"}})
	alice := relay.Connect(t, "alice", harness.ClientOptions{})
	cathy := relay.Connect(t, "cathy", harness.ClientOptions{})
	cathy.Freeze()
	bulk := make([]byte, 60000)
	if !harness.Poll(20*time.Second, func() bool {
		for range 20 {
			alice.SendTo(t, cathy.Pub, bulk)
		}
		return relay.Metrics(t)[`derp_packets_dropped{kind="other",reason="queue_head"}`] > 0
	}) {
		t.Fatal("nothing was dropped")
	}
	cathy.Thaw()
	alice.SendTo(t, cathy.Pub, []byte("last"))
	for {
		packet, ok := cathy.Next(t).(harness.Packet)
		if !ok {
			t.Fatal("got a message that is no packet")
		}
		if string(packet.Data) == "last" {
			break
		}
	}
	cathy.WantAlive(t)
}
