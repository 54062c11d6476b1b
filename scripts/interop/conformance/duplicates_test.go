// Several connections with one key, as after a change of network or with a cloned key: the scenarios
// of Tailscale's TestServerDupClients for the policy that derper uses.

package conformance

import (
	"testing"
	"time"

	"tailscale.com/types/key"

	"towline.test/interop/harness"
)

type duplicates struct {
	relay *harness.Relay
	key   key.NodePrivate
	peer  *harness.Client
}

func newDuplicates(t *testing.T) *duplicates {
	relay := harness.Start(t, harness.Options{})
	return &duplicates{relay: relay, key: key.NewNode(), peer: relay.Connect(t, "peer", harness.ClientOptions{})}
}

func (d *duplicates) connect(t *testing.T, name string) *harness.Client {
	t.Helper()
	return d.relay.Connect(t, name, harness.ClientOptions{Key: d.key})
}

// wantActive expects that a packet to the key reaches this connection and no other.
func (d *duplicates) wantActive(t *testing.T, active *harness.Client, others ...*harness.Client) {
	t.Helper()
	d.peer.SendTo(t, d.key.Public(), []byte("for "+active.Name))
	active.WantPacket(t, d.peer.Pub, []byte("for "+active.Name))
	for _, other := range others {
		other.WantNothing(t, 30*time.Millisecond)
	}
}

func (d *duplicates) wantCounts(t *testing.T, keys, connections, total float64) {
	t.Helper()
	d.relay.WaitMetrics(t, map[string]float64{
		"derp_current_dup_client_keys":  keys,
		"derp_current_dup_client_conns": connections,
		"derp_total_dup_client_conns":   total,
	})
}

func TestDuplicateReplacement(t *testing.T) {
	t.Parallel()
	d := newDuplicates(t)
	first := d.connect(t, "first")
	d.wantActive(t, first)
	d.wantCounts(t, 0, 0, 0)
	second := d.connect(t, "second") // the network changed: the newest gets the packets
	d.wantCounts(t, 1, 2, 1)
	d.wantActive(t, second, first)
	first.Close() // the old one times out at last
	d.wantCounts(t, 0, 0, 1)
	d.wantActive(t, second)
	d.peer.WantNothing(t, 50*time.Millisecond) // the key was never gone

	// Only the last connection's end is news, and only for those who had a packet from the key.
	second.SendTo(t, d.peer.Pub, []byte("remember me"))
	d.peer.WantPacket(t, d.key.Public(), []byte("remember me"))
	third := d.connect(t, "third")
	second.Close()
	d.wantCounts(t, 0, 0, 2)
	d.peer.WantNothing(t, 50*time.Millisecond)
	third.Close()
	d.peer.WantGone(t, d.key.Public(), harness.GoneDisconnected)
	d.relay.WaitMetric(t, "derp_current_connections", 1)
}

func TestLastWriterIsActive(t *testing.T) {
	t.Parallel()
	d := newDuplicates(t)
	first, second := d.connect(t, "first"), d.connect(t, "second")
	d.wantActive(t, second, first)
	// Every kind of frame counts as writing.
	first.WantAlive(t)
	d.wantActive(t, first, second)
	second.NotePreferred(true)
	second.WantAlive(t)
	d.wantActive(t, second, first)
	first.SendTo(t, d.peer.Pub, []byte("mine"))
	d.peer.WantPacket(t, d.key.Public(), []byte("mine"))
	d.wantActive(t, first, second)
	second.SendPong([8]byte{})
	harness.Poll(time.Second, func() bool { return false })
	d.wantActive(t, second, first)

	second.Close()
	d.wantCounts(t, 0, 0, 1)
	d.wantActive(t, first)
}

func TestThreeDuplicates(t *testing.T) {
	t.Parallel()
	d := newDuplicates(t)
	first, second, third := d.connect(t, "first"), d.connect(t, "second"), d.connect(t, "third")
	d.wantCounts(t, 1, 3, 2)
	d.wantActive(t, third, first, second)
	// When the active one leaves, the one that wrote last before it follows; a new connection
	// counts like a writer.
	first.WantAlive(t)
	d.wantActive(t, first, second, third)
	first.Close()
	d.wantCounts(t, 1, 2, 2)
	d.wantActive(t, third, second)
	third.Close()
	d.wantCounts(t, 0, 0, 2)
	d.wantActive(t, second)
	second.Close()
	d.relay.WaitMetric(t, "derp_current_connections", 1)
	d.peer.SendTo(t, d.key.Public(), disco(0))
	d.peer.WantGone(t, d.key.Public(), harness.GoneNotHere)
}

// A watcher is told of every new connection, but only of the end of the last one.
func TestWatchDuplicates(t *testing.T) {
	t.Parallel()
	relay := harness.Start(t, harness.Options{Mesh: true})
	watcher := relay.Connect(t, "watcher", harness.ClientOptions{MeshKey: harness.MeshKey})
	if err := watcher.WatchConnectionChanges(); err != nil {
		t.Fatal(err)
	}
	watcher.WantPresent(t, watcher.Pub)
	shared := key.NewNode()
	first := relay.Connect(t, "first", harness.ClientOptions{Key: shared})
	watcher.WantPresent(t, shared.Public())
	second := relay.Connect(t, "second", harness.ClientOptions{Key: shared})
	watcher.WantPresent(t, shared.Public())
	second.Close()
	relay.WaitMetric(t, "derp_current_connections", 2)
	watcher.WantNothing(t, 50*time.Millisecond)
	first.Close()
	watcher.WantGone(t, shared.Public(), harness.GoneDisconnected)
	watcher.WantNothing(t, 50*time.Millisecond)
}
