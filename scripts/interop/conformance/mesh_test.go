// Two and three relays of a region that forward for each other.

package conformance

import (
	"crypto/rand"
	"testing"
	"time"

	"tailscale.com/types/key"

	"towline.test/interop/harness"
)

// pair starts two relays that mesh with each other and waits until both have connected.
func pair(t *testing.T) (a, b *harness.Relay) {
	t.Helper()
	// Each needs the other's address in its command line, so the first is started twice.
	a = harness.Start(t, harness.Options{Mesh: true})
	b = harness.Start(t, harness.Options{MeshWith: []*harness.Relay{a}})
	a.Kill()
	a = harness.Start(t, harness.Options{MeshWith: []*harness.Relay{b}, Like: a})
	a.WaitMetric(t, "derp_watchers", 1)
	b.WaitMetric(t, "derp_watchers", 1)
	return a, b
}

func TestMeshForwarding(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	alice := a.Connect(t, "alice", harness.ClientOptions{})
	bob := b.Connect(t, "bob", harness.ClientOptions{})
	awaitRoute(t, a, 1)
	awaitRoute(t, b, 1)

	for _, size := range []int{0, 1, 1400, 20000, harness.MaxPacketBytes} {
		packet := make([]byte, size)
		rand.Read(packet)
		alice.SendTo(t, bob.Pub, packet)
		bob.WantPacket(t, alice.Pub, packet)
		bob.SendTo(t, alice.Pub, packet)
		alice.WantPacket(t, bob.Pub, packet)
	}
	if err := stream(alice, bob, 1000, 16); err != nil {
		t.Error(err)
	}
	metrics := a.Metrics(t)
	if out, in := metrics["derp_packets_forwarded_out"], metrics["derp_packets_forwarded_in"]; out != 1005 || in != 5 {
		t.Errorf("a forwarded %v out and %v in, want 1005 and 5", out, in)
	}

	// The end of a client is news in the whole region, for those who had a packet from it.
	alice.Close()
	bob.WantGone(t, alice.Pub, harness.GoneDisconnected)
	bob.WantNothing(t, 50*time.Millisecond)
	bob.SendTo(t, alice.Pub, disco(0))
	bob.WantGone(t, alice.Pub, harness.GoneNotHere)
}

// awaitRoute waits until the relay knows this many clients on other relays. Each mesh connection of
// the other relay is a client here too, and those of all relays are clients somewhere.
func awaitRoute(t *testing.T, relay *harness.Relay, clients float64) {
	t.Helper()
	var last float64
	if !harness.Poll(10*time.Second, func() bool {
		last = relay.Metrics(t)["derp_clients_remote"]
		return last >= clients
	}) {
		t.Fatalf("derp_clients_remote is %v, want at least %v", last, clients)
	}
}

// A client that is connected to both relays is reached on the sender's own; when that connection
// ends, on the other one, and nobody is told that it is gone.
func TestMeshLocalFirst(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	alice := a.Connect(t, "alice", harness.ClientOptions{})
	roamer := key.NewNode()
	here := a.Connect(t, "roamer here", harness.ClientOptions{Key: roamer})
	there := b.Connect(t, "roamer there", harness.ClientOptions{Key: roamer})
	time.Sleep(300 * time.Millisecond) // until a has heard of it

	here.SendTo(t, alice.Pub, []byte("from here"))
	alice.WantPacket(t, roamer.Public(), []byte("from here"))
	alice.SendTo(t, roamer.Public(), []byte("to here"))
	here.WantPacket(t, alice.Pub, []byte("to here"))
	there.WantNothing(t, 50*time.Millisecond)
	here.Close()
	a.WaitMetric(t, "derp_clients_local", 2) // alice and b's mesh connection
	alice.SendTo(t, roamer.Public(), []byte("to there"))
	there.WantPacket(t, alice.Pub, []byte("to there"))
	alice.WantNothing(t, 50*time.Millisecond)
	there.Close()
	alice.WantGone(t, roamer.Public(), harness.GoneDisconnected)
}

// A forwarded packet goes one hop only: a relay never forwards it again.
func TestMeshOneHop(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	bob := b.Connect(t, "bob", harness.ClientOptions{})
	awaitRoute(t, a, 1)
	mesh := a.Connect(t, "mesh", harness.ClientOptions{MeshKey: harness.MeshKey})
	local := a.Connect(t, "local", harness.ClientOptions{})
	source := key.NewNode().Public()

	if err := mesh.ForwardPacket(source, local.Pub, []byte("for local")); err != nil {
		t.Fatal(err)
	}
	local.WantPacket(t, source, []byte("for local"))
	if err := mesh.ForwardPacket(source, bob.Pub, []byte("for bob")); err != nil {
		t.Fatal(err)
	}
	bob.WantNothing(t, 200*time.Millisecond)
	metrics := a.Metrics(t)
	if got := metrics[`derp_packets_dropped{kind="other",reason="unknown_dest_on_fwd"}`]; got != 1 {
		t.Errorf("%v packets dropped with unknown_dest_on_fwd, want 1", got)
	}
	if got := metrics["derp_packets_forwarded_in"]; got != 2 {
		t.Errorf("derp_packets_forwarded_in is %v, want 2", got)
	}
	// Disco to a stranger is answered to the mesh peer, as to a client.
	if err := mesh.ForwardPacket(source, bob.Pub, disco(0)); err != nil {
		t.Fatal(err)
	}
	mesh.WantGone(t, bob.Pub, harness.GoneNotHere)
}

// A relay that finds itself in its mesh list leaves that entry alone.
func TestMeshWithOneself(t *testing.T) {
	t.Parallel()
	first := harness.Start(t, harness.Options{Mesh: true})
	first.Kill()
	relay := harness.Start(t, harness.Options{MeshWith: []*harness.Relay{first}, Like: first})
	client := relay.Connect(t, "client", harness.ClientOptions{})
	time.Sleep(500 * time.Millisecond)
	client.SendTo(t, client.Pub, []byte("once"))
	client.WantPacket(t, client.Pub, []byte("once"))
	client.WantNothing(t, 100*time.Millisecond)
	relay.WaitMetrics(t, map[string]float64{"derp_watchers": 0, "derp_packets_forwarded_out": 0})
}
