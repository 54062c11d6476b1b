// Watchers: what a mesh peer learns about the clients of a relay, and who may be one.

package conformance

import (
	"fmt"
	"testing"
	"time"

	"tailscale.com/types/key"

	"towline.test/interop/harness"
)

// The scenario of Tailscale's TestWatch.
func TestWatch(t *testing.T) {
	t.Parallel()
	relay := harness.Start(t, harness.Options{Mesh: true})
	watcher := func(name string) *harness.Client {
		t.Helper()
		client := relay.Connect(t, name, harness.ClientOptions{MeshKey: harness.MeshKey})
		if err := client.WatchConnectionChanges(); err != nil {
			t.Fatal(err)
		}
		return client
	}
	regular := func(name string) *harness.Client {
		t.Helper()
		return relay.Connect(t, name, harness.ClientOptions{})
	}

	w1 := watcher("w1")
	w1.WantPresent(t, w1.Pub)
	c1 := regular("c1")
	w1.WantPresent(t, c1.Pub)
	c2 := regular("c2")
	w1.WantPresent(t, c2.Pub)
	w2 := watcher("w2")
	w1.WantPresent(t, w2.Pub)
	w2.WantPresent(t, w1.Pub, w2.Pub, c1.Pub, c2.Pub)
	c3 := regular("c3")
	w1.WantPresent(t, c3.Pub)
	w2.WantPresent(t, c3.Pub)
	relay.WaitMetric(t, "derp_watchers", 2)

	c2.Close()
	w1.WantGone(t, c2.Pub, harness.GoneDisconnected)
	w2.WantGone(t, c2.Pub, harness.GoneDisconnected)
	w3 := watcher("w3")
	w1.WantPresent(t, w3.Pub)
	w2.WantPresent(t, w3.Pub)
	w3.WantPresent(t, c1.Pub, c3.Pub, w1.Pub, w2.Pub, w3.Pub)
	c1.Close()
	for _, w := range []*harness.Client{w1, w2, w3} {
		w.WantGone(t, c1.Pub, harness.GoneDisconnected)
		w.WantNothing(t, 50*time.Millisecond)
	}
	c3.WantNothing(t, 50*time.Millisecond)

	w3.Close()
	w1.WantGone(t, w3.Pub, harness.GoneDisconnected)
	w2.WantGone(t, w3.Pub, harness.GoneDisconnected)
	relay.WaitMetric(t, "derp_watchers", 2)
}

// A watcher that bears the relay's own key is the relay itself; it is told nothing.
func TestWatchOneself(t *testing.T) {
	t.Parallel()
	relay := harness.Start(t, harness.Options{Mesh: true})
	self := relay.Connect(t, "self", harness.ClientOptions{Key: relay.Key, MeshKey: harness.MeshKey})
	if err := self.WatchConnectionChanges(); err != nil {
		t.Fatal(err)
	}
	relay.Connect(t, "client", harness.ClientOptions{})
	self.WantNothing(t, 200*time.Millisecond)
	self.WantAlive(t)
}

// A mesh peer has clients disconnected, all connections of the key.
func TestClosePeer(t *testing.T) {
	t.Parallel()
	relay := harness.Start(t, harness.Options{Mesh: true})
	mesh := relay.Connect(t, "mesh", harness.ClientOptions{MeshKey: harness.MeshKey})
	target := key.NewNode()
	first := relay.Connect(t, "first", harness.ClientOptions{Key: target})
	second := relay.Connect(t, "second", harness.ClientOptions{Key: target})
	bystander := relay.Connect(t, "bystander", harness.ClientOptions{})
	if err := mesh.ClosePeer(target.Public()); err != nil {
		t.Fatal(err)
	}
	if err := mesh.ClosePeer(key.NewNode().Public()); err != nil { // nobody: no harm
		t.Fatal(err)
	}
	first.WantClosed(t, harness.ReplyTimeout)
	second.WantClosed(t, harness.ReplyTimeout)
	relay.WaitMetric(t, "derp_current_connections", 2)
	bystander.WantAlive(t)
	mesh.WantAlive(t)
}

// What needs the mesh key ends the connection of a client that does not have it.
func TestMeshRights(t *testing.T) {
	t.Parallel()
	withKey := harness.Start(t, harness.Options{Mesh: true})
	withoutKey := harness.Start(t, harness.Options{})
	wrongKey := fmt.Sprintf("%064x", 42)
	for name, attempt := range map[string]func(*harness.Client) error{
		"watch":   func(c *harness.Client) error { return c.WatchConnectionChanges() },
		"close":   func(c *harness.Client) error { return c.ClosePeer(key.NewNode().Public()) },
		"forward": func(c *harness.Client) error { return c.ForwardPacket(c.Pub, c.Pub, []byte("x")) },
	} {
		for _, c := range []struct {
			relay   *harness.Relay
			meshKey string
		}{{withKey, ""}, {withKey, wrongKey}, {withoutKey, ""}, {withoutKey, harness.MeshKey}} {
			client := c.relay.Connect(t, fmt.Sprintf("%s with key %q", name, c.meshKey), harness.ClientOptions{MeshKey: c.meshKey})
			client.WantAlive(t) // a wrong key alone is no reason to refuse
			if err := attempt(client); err != nil {
				t.Fatal(err)
			}
			client.WantClosed(t, harness.ReplyTimeout)
		}
	}
}
