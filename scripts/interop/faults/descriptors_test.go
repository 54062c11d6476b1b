// No file descriptor is left: connected clients go on, and newcomers get in when others leave.

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
	relay := harness.Start(t, harness.Options{OpenFiles: limit, HTTPPort: true, STUN: true})
	bystanders := startBystanders(t, relay)
	before := relay.Resources(t)

	var idle []net.Conn
	for range limit + 150 {
		conn, err := net.DialTimeout("tcp", relay.Addr(), time.Second)
		if err != nil {
			break // the kernel's queue of connections that nobody accepts is full
		}
		defer conn.Close()
		idle = append(idle, conn)
	}
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
