// Package faults breaks things around a running relay and checks two things: those who did nothing
// wrong do not notice, and afterwards the relay holds what it held before.
package faults

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"towline.test/interop/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// memoryGrowthMax is how much more memory a relay may hold after a fault than before it. Go gives
// memory back late and keeps what its collector may need; ours has nothing of that kind.
var memoryGrowthMax = map[harness.Kind]int{
	harness.Derper:  64 << 20,
	harness.Towline: 16 << 20,
}

// descriptorsGrowthMax allows for connections of the test itself that are just closing.
const descriptorsGrowthMax = 3

// wantSettled expects that the relay holds what it held before, give or take a little.
func wantSettled(t *testing.T, relay *harness.Relay, before harness.Resources) {
	t.Helper()
	var now harness.Resources
	if !harness.Poll(15*time.Second, func() bool {
		now = relay.Resources(t)
		return now.Descriptors <= before.Descriptors+descriptorsGrowthMax &&
			now.MemoryBytes <= before.MemoryBytes+memoryGrowthMax[relay.Kind]
	}) {
		t.Errorf("%s held %v before, and %v now", relay.Kind, before, now)
	}
	t.Logf("before %d descriptors and %d KiB, after %d and %d KiB",
		before.Descriptors, before.MemoryBytes>>10, now.Descriptors, now.MemoryBytes>>10)
}

// bystanders are two clients that talk to each other all the time while something else goes wrong.
type bystanders struct {
	a, b *harness.Client
	stop chan struct{}
	done sync.WaitGroup

	mu    sync.Mutex
	worst time.Duration
	count int
	err   error
}

func startBystanders(t *testing.T, relay *harness.Relay) *bystanders {
	t.Helper()
	s := &bystanders{
		a:    relay.Connect(t, "bystander a", harness.ClientOptions{}),
		b:    relay.Connect(t, "bystander b", harness.ClientOptions{}),
		stop: make(chan struct{}),
	}
	s.done.Go(s.talk)
	return s
}

func (s *bystanders) talk() {
	for number := 0; ; number++ {
		select {
		case <-s.stop:
			return
		case <-time.After(5 * time.Millisecond):
		}
		sent := time.Now()
		err := exchange(s.a, s.b, fmt.Sprintf("there %d", number))
		if err == nil {
			err = exchange(s.b, s.a, fmt.Sprintf("and back %d", number))
		}
		s.mu.Lock()
		s.count++
		s.worst = max(s.worst, time.Since(sent))
		s.err = err
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func exchange(from, to *harness.Client, text string) error {
	if err := from.Send(to.Pub, []byte(text)); err != nil {
		return err
	}
	message, ok, err := to.Receive(harness.ReplyTimeout)
	if err != nil {
		return err
	}
	if packet, isPacket := message.(harness.Packet); !ok || !isPacket || string(packet.Data) != text {
		return fmt.Errorf("%s did not get %q, but %v", to.Name, text, message)
	}
	return nil
}

// wantUndisturbed ends the talk and expects that it went on well, no round trip longer than this.
func (s *bystanders) wantUndisturbed(t *testing.T, longest time.Duration) {
	t.Helper()
	const roundTripsMin = 20
	harness.Poll(harness.ReplyTimeout, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.count >= roundTripsMin || s.err != nil
	})
	close(s.stop)
	s.done.Wait()
	if s.err != nil {
		t.Errorf("the bystanders were disturbed: %v", s.err)
	}
	if s.worst > longest {
		t.Errorf("a round trip of the bystanders took %v", s.worst)
	}
	if s.count < roundTripsMin {
		t.Errorf("the bystanders talked only %d times", s.count)
	}
	t.Logf("bystanders: %d round trips, the longest %v", s.count, s.worst)
}
