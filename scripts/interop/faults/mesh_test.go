// A mesh peer that vanishes, or hangs: the clients of the other relay go on, are told what they lost,
// and get it back when the peer returns.

package faults

import (
	"syscall"
	"testing"
	"time"

	"towline.test/interop/harness"
)

func TestMeshPeerVanishes(t *testing.T) {
	t.Parallel()
	a, b := meshed(t)
	bystanders := startBystanders(t, a)
	alice := a.Connect(t, "alice", harness.ClientOptions{})
	bob := b.Connect(t, "bob", harness.ClientOptions{})
	wantReachable(t, alice, bob)
	before := a.Resources(t)

	for range 2 {
		bob.SendTo(t, alice.Pub, []byte("remember me"))
		alice.WantPacket(t, bob.Pub, []byte("remember me"))
		b.Kill()
		alice.WantGone(t, bob.Pub, harness.GoneDisconnected)
		for range 50 {
			alice.SendTo(t, bob.Pub, []byte("anybody?"))
		}
		alice.WantAlive(t)

		b = harness.Start(t, harness.Options{MeshWith: []*harness.Relay{a}, Like: b})
		b.WaitMetric(t, "derp_watchers", 1)
		a.WaitMetric(t, "derp_watchers", 1)
		bob = b.Connect(t, "bob", harness.ClientOptions{})
		wantReachable(t, alice, bob)
	}
	bystanders.wantUndisturbed(t, 2*time.Second)
	wantSettled(t, a, before)
}

// A peer that is stopped keeps its connections but reads nothing; only those who send to its clients may wait.
func TestMeshPeerHangs(t *testing.T) {
	t.Parallel()
	a, b := meshed(t)
	bystanders := startBystanders(t, a)
	alice := a.Connect(t, "alice", harness.ClientOptions{})
	bob := b.Connect(t, "bob", harness.ClientOptions{})
	wantReachable(t, alice, bob)
	before := a.Resources(t)

	b.Signal(t, syscall.SIGSTOP)
	sending := make(chan error, 1)
	go func() {
		packet := make([]byte, 60000)
		for range 400 { // 24 MB, more than kernels buffer
			if err := alice.Send(bob.Pub, packet); err != nil {
				sending <- err
				return
			}
		}
		sending <- nil
	}()
	time.Sleep(8 * time.Second)
	b.Signal(t, syscall.SIGCONT)
	select {
	case err := <-sending:
		if err != nil {
			t.Errorf("alice, who sends to a client of the hanging peer: %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("alice cannot send any more")
	}
	// Whatever happened to the mesh connection meanwhile, it works again.
	b.WaitMetric(t, "derp_watchers", 1)
	carol := b.Connect(t, "carol", harness.ClientOptions{})
	dave := a.Connect(t, "dave", harness.ClientOptions{})
	wantReachable(t, dave, carol)
	bystanders.wantUndisturbed(t, 2*time.Second)
	wantSettled(t, a, before)
}

func meshed(t *testing.T) (a, b *harness.Relay) {
	t.Helper()
	a = harness.Start(t, harness.Options{Mesh: true})
	b = harness.Start(t, harness.Options{MeshWith: []*harness.Relay{a}})
	a.Kill()
	a = harness.Start(t, harness.Options{MeshWith: []*harness.Relay{b}, Like: a})
	a.WaitMetric(t, "derp_watchers", 1)
	b.WaitMetric(t, "derp_watchers", 1)
	return a, b
}

// wantReachable sends until a packet arrives: the relays learn of each other's clients a moment
// after these have connected.
func wantReachable(t *testing.T, from, to *harness.Client) {
	t.Helper()
	for range 200 {
		from.SendTo(t, to.Pub, []byte("are you there?"))
		message, ok, err := to.Receive(50 * time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		if packet, isPacket := message.(harness.Packet); ok && isPacket && packet.From == from.Pub {
			for { // those that came later
				if _, ok, _ := to.Receive(100 * time.Millisecond); !ok {
					return
				}
			}
		}
	}
	t.Fatalf("%s cannot reach %s", from.Name, to.Name)
}
