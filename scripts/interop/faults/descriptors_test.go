// File descriptors run out: connected clients go on, and newcomers get in when others leave. By default strangers cannot
// bring that about.

package faults

import (
	"net"
	"testing"
	"time"

	"towline.test/interop/harness"
)

func TestDescriptorExhaustion(t *testing.T) {
	t.Parallel()
	const limit = 256
	options := harness.Options{OpenFiles: limit, HTTPPort: true, STUN: true}
	if harness.UnderTest(t) == harness.Towline {
		options.Args = []string{"-half-open-max", "4096"} // by itself it would leave descriptors for others
	}
	relay := harness.Start(t, options)
	bystanders := startBystanders(t, relay)
	before := relay.Resources(t)

	idle := sayNothing(t, relay, limit+150)
	if !harness.Poll(10*time.Second, func() bool { return relay.Resources(t).Descriptors >= limit*3/4 }) {
		t.Errorf("only %d of %d descriptors are in use with %d connections", relay.Resources(t).Descriptors, limit, len(idle))
	}
	time.Sleep(2 * time.Second) // long enough for an accept loop that gives up, or spins
	spent := cpuTime(t, relay)
	time.Sleep(2 * time.Second)
	if spent = cpuTime(t, relay) - spent; spent > 1500*time.Millisecond {
		t.Errorf("%v of CPU in 2 s while no descriptor is left", spent)
	}
	for _, conn := range idle {
		conn.Close()
	}
	var newcomer *harness.Client
	if !harness.Poll(15*time.Second, func() bool {
		var err error
		newcomer, err = relay.TryConnect("newcomer", harness.ClientOptions{})
		return err == nil
	}) {
		t.Fatal("nobody gets in any more")
	}
	newcomer.WantAlive(t)
	newcomer.Close()
	bystanders.wantUndisturbed(t, 3*time.Second)
	wantSettled(t, relay, before)
}

// One host with as many silent connections as there are descriptors keeps nobody else out. derper has no such bound.
func TestOneHostLeavesDescriptors(t *testing.T) {
	t.Parallel()
	if harness.UnderTest(t) != harness.Towline {
		t.Skip("derper accepts as long as there are descriptors")
	}
	const limit = 256
	relay := harness.Start(t, harness.Options{OpenFiles: limit})
	before := relay.Resources(t)
	for range 3 {
		idle := sayNothing(t, relay, limit)
		if used := relay.Resources(t).Descriptors; used > limit*3/4 {
			t.Errorf("%d of %d descriptors are in use", used, limit)
		}
		neighbour, err := relay.TryConnect("neighbour", harness.ClientOptions{From: "127.0.0.2"})
		if err != nil {
			t.Fatalf("a neighbour does not get in: %v", err)
		}
		neighbour.WantAlive(t)
		neighbour.Close()
		for _, conn := range idle {
			conn.Close()
		}
	}
	wantSettled(t, relay, before)
}

// sayNothing opens up to count connections that send nothing, and stay until the end of the test.
func sayNothing(t *testing.T, relay *harness.Relay, count int) []net.Conn {
	var idle []net.Conn
	for range count {
		conn, err := net.DialTimeout("tcp", relay.Addr(), time.Second)
		if err != nil {
			break // the kernel's queue of connections that nobody accepts is full
		}
		t.Cleanup(func() { conn.Close() })
		idle = append(idle, conn)
	}
	return idle
}
