// What SIGHUP changes in the mesh of a towline relay. derper's list of members is fixed at its start.

package conformance

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"towline.test/interop/harness"
)

func TestMeshMembersReload(t *testing.T) {
	t.Parallel()
	if harness.UnderTest(t) != harness.Towline {
		t.Skip("derper cannot change its mesh")
	}
	first := harness.Start(t, harness.Options{Kind: harness.Towline, Mesh: true})
	second := harness.Start(t, harness.Options{Kind: harness.Towline, Mesh: true})
	file := filepath.Join(t.TempDir(), "relay.toml")
	members := func(relays ...*harness.Relay) {
		list := ""
		for _, relay := range relays {
			list += fmt.Sprintf("%q, ", fmt.Sprintf("127.0.0.1:%d", relay.Port))
		}
		if err := os.WriteFile(file, []byte("[mesh]\nwith = ["+list+"]\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// It begins without any, so that the first reload is also the first dial.
	members()
	relay := harness.Start(t, harness.Options{Kind: harness.Towline, Mesh: true, Args: []string{"--config", file}})
	sender := relay.Connect(t, "sender", harness.ClientOptions{})
	ann := first.Connect(t, "ann", harness.ClientOptions{})
	ben := second.Connect(t, "ben", harness.ClientOptions{})

	members(first)
	relay.Signal(t, syscall.SIGHUP)
	first.WaitMetric(t, "derp_watchers", 1)
	awaitRoute(t, relay, 1)
	sender.SendTo(t, ann.Pub, []byte("to the first"))
	ann.WantPacket(t, sender.Pub, []byte("to the first"))

	// One that stays keeps its connection; one that comes gets a place of its own.
	accepted := first.Metrics(t)["derp_accepts"]
	members(second, first)
	relay.Signal(t, syscall.SIGHUP)
	second.WaitMetric(t, "derp_watchers", 1)
	awaitRoute(t, relay, 2)
	sender.SendTo(t, ben.Pub, []byte("to the second"))
	ben.WantPacket(t, sender.Pub, []byte("to the second"))
	if now := first.Metrics(t)["derp_accepts"]; now != accepted {
		t.Errorf("the relay that stayed was dialled again: %v connections, had %v", now, accepted)
	}

	// One that goes loses its connection, and the others keep theirs.
	members(second)
	relay.Signal(t, syscall.SIGHUP)
	first.WaitMetric(t, "derp_watchers", 0)
	harness.Poll(10*time.Second, func() bool { return relay.Metrics(t)["derp_clients_remote"] <= 1 })
	sender.SendTo(t, ben.Pub, []byte("again"))
	ben.WantPacket(t, sender.Pub, []byte("again"))
	sender.SendTo(t, ann.Pub, disco(0))
	sender.WantGone(t, ann.Pub, harness.GoneNotHere)
}
