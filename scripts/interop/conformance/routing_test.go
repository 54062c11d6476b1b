// Packets between clients of one relay: who gets what, who is told that whom is gone, what is counted.

package conformance

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"tailscale.com/types/key"

	"towline.test/interop/harness"
)

// disco returns a packet that looks like a disco message, the only kind that is answered with "not here".
func disco(bodyBytes int) []byte {
	packet := append([]byte("TS💬"), make([]byte, 32+24+bodyBytes)...)
	rand.Read(packet[6:])
	return packet
}

// The scenario of Tailscale's TestSendRecv.
func TestSendRecv(t *testing.T) {
	t.Parallel()
	for _, plain := range []bool{false, true} {
		t.Run(fmt.Sprintf("plain=%v", plain), func(t *testing.T) {
			t.Parallel()
			relay := harness.Start(t, harness.Options{Plain: plain})
			var clients []*harness.Client
			for i := range 3 {
				clients = append(clients, relay.Connect(t, fmt.Sprint("client ", i), harness.ClientOptions{}))
			}
			connections := func(all, home float64) {
				t.Helper()
				relay.WaitMetrics(t, map[string]float64{
					"derp_current_connections":      all,
					"derp_current_home_connections": home,
				})
			}

			clients[0].SendTo(t, clients[1].Pub, []byte("hello 0->1\n"))
			clients[1].WantPacket(t, clients[0].Pub, []byte("hello 0->1\n"))
			clients[1].SendTo(t, clients[2].Pub, []byte("hello 1->2\n"))
			clients[2].WantPacket(t, clients[1].Pub, []byte("hello 1->2\n"))
			clients[0].WantNothing(t, 50*time.Millisecond)

			// Data to a stranger is dropped in silence; disco is answered, but not more than three times in a row.
			stranger := key.NewNode().Public()
			clients[1].SendTo(t, stranger, []byte("not a CallMeMaybe->unknown destination\n"))
			clients[1].WantNothing(t, 100*time.Millisecond)
			for range 6 {
				clients[1].SendTo(t, stranger, disco(0))
			}
			for range 3 {
				clients[1].WantGone(t, stranger, harness.GoneNotHere)
			}
			clients[1].WantNothing(t, 100*time.Millisecond)

			connections(3, 0)
			clients[0].NotePreferred(true)
			connections(3, 1)
			clients[0].NotePreferred(true)
			connections(3, 1)
			clients[0].NotePreferred(false)
			connections(3, 0)
			clients[0].NotePreferred(false)
			connections(3, 0)
			clients[1].NotePreferred(true)
			connections(3, 1)

			clients[1].Close()
			connections(2, 0)
			clients[2].WantGone(t, clients[1].Pub, harness.GoneDisconnected)
			clients[0].WantNothing(t, 100*time.Millisecond) // it sent to 1, but never heard from it

			clients[2].NotePreferred(true)
			connections(2, 1)
			clients[2].NotePreferred(false)
			connections(2, 0)
			clients[2].Close()
			connections(1, 0)
			clients[0].WantNothing(t, 50*time.Millisecond)

			metrics := relay.Metrics(t)
			for name, want := range map[string]float64{
				`derp_packets_received`:                                    9,
				`derp_packets_received_kind{kind="disco"}`:                 6,
				`derp_packets_received_kind{kind="other"}`:                 3,
				`derp_packets_sent`:                                        2,
				`derp_bytes_sent`:                                          22,
				`derp_packets_dropped{kind="disco",reason="unknown_dest"}`: 6,
				`derp_packets_dropped{kind="other",reason="unknown_dest"}`: 1,
				`derp_bytes_dropped{kind="disco",reason="unknown_dest"}`:   6 * 62,
				`derp_peer_gone_not_here_frames`:                           3,
				`derp_peer_gone_disconnected_frames`:                       1,
				`derp_accepts`:                                             3,
			} {
				if got := metrics[name]; got != want {
					t.Errorf("%s is %v, want %v", name, got, want)
				}
			}
		})
	}
}

// The limit of "not here" answers refills with one a second.
func TestNotHereRefills(t *testing.T) {
	t.Parallel()
	relay := harness.Start(t, harness.Options{})
	client := relay.Connect(t, "client", harness.ClientOptions{})
	stranger := key.NewNode().Public()
	for range 5 {
		client.SendTo(t, stranger, disco(10))
	}
	for range 3 {
		client.WantGone(t, stranger, harness.GoneNotHere)
	}
	client.WantNothing(t, 100*time.Millisecond)
	time.Sleep(1100 * time.Millisecond)
	for range 5 {
		client.SendTo(t, stranger, disco(10))
	}
	client.WantGone(t, stranger, harness.GoneNotHere)
	client.WantNothing(t, 100*time.Millisecond)
}

// The end of a client is news only for those who had a packet from it, once however many there were.
func TestGoneOnlyToReceivers(t *testing.T) {
	t.Parallel()
	relay := harness.Start(t, harness.Options{})
	sender := relay.Connect(t, "sender", harness.ClientOptions{})
	receiver := relay.Connect(t, "receiver", harness.ClientOptions{})
	answerer := relay.Connect(t, "answerer", harness.ClientOptions{})
	bystander := relay.Connect(t, "bystander", harness.ClientOptions{})
	for range 3 {
		sender.SendTo(t, receiver.Pub, []byte("hello"))
		receiver.WantPacket(t, sender.Pub, []byte("hello"))
	}
	answerer.SendTo(t, sender.Pub, []byte("wrong number"))
	sender.WantPacket(t, answerer.Pub, []byte("wrong number"))
	sender.Close()
	receiver.WantGone(t, sender.Pub, harness.GoneDisconnected)
	for _, client := range []*harness.Client{receiver, answerer, bystander} {
		client.WantNothing(t, 100*time.Millisecond)
		client.WantAlive(t)
	}
}

// Packets of every size between nothing and 64 KiB arrive whole, unchanged and in order.
func TestPacketSizes(t *testing.T) {
	t.Parallel()
	for _, plain := range []bool{false, true} {
		t.Run(fmt.Sprintf("plain=%v", plain), func(t *testing.T) {
			t.Parallel()
			relay := harness.Start(t, harness.Options{Plain: plain})
			a := relay.Connect(t, "a", harness.ClientOptions{})
			b := relay.Connect(t, "b", harness.ClientOptions{})
			sizes := []int{0, 1, 2, 31, 32, 33, 100, 1400, 1979, 1980, 2011, 2048, 4091, 4096, 9000, 16347, 16384, 16385, 20000, 32768, 65535, harness.MaxPacketBytes}
			for _, size := range sizes {
				packet := make([]byte, size)
				rand.Read(packet)
				a.SendTo(t, b.Pub, packet)
				b.WantPacket(t, a.Pub, packet)
				b.SendTo(t, a.Pub, packet)
				a.WantPacket(t, b.Pub, packet)
			}
			// All at once, fewer than the 32 that derper queues.
			for _, size := range sizes {
				a.SendTo(t, b.Pub, bytes.Repeat([]byte{byte(size)}, size))
			}
			for _, size := range sizes {
				b.WantPacket(t, a.Pub, bytes.Repeat([]byte{byte(size)}, size))
			}
		})
	}
}

// A client may send to itself.
func TestSendToSelf(t *testing.T) {
	t.Parallel()
	relay := harness.Start(t, harness.Options{})
	client := relay.Connect(t, "client", harness.ClientOptions{})
	client.SendTo(t, client.Pub, []byte("note to self"))
	client.WantPacket(t, client.Pub, []byte("note to self"))
}

// Many packets in both directions of several pairs, never more in flight than a derper queues:
// none is lost, none is out of order.
func TestManyPackets(t *testing.T) {
	t.Parallel()
	const pairs, packets, inFlight = 4, 3000, 16
	relay := harness.Start(t, harness.Options{})
	done := make(chan error)
	for range pairs {
		a := relay.Connect(t, "a", harness.ClientOptions{})
		b := relay.Connect(t, "b", harness.ClientOptions{})
		for _, way := range [][2]*harness.Client{{a, b}, {b, a}} {
			go func() { done <- stream(way[0], way[1], packets, inFlight) }()
		}
	}
	for range 2 * pairs {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// stream sends numbered packets; every arrival makes room for one more.
func stream(from, to *harness.Client, packets, inFlight int) error {
	payload := make([]byte, 1300)
	send := func(number int) error {
		copy(payload, fmt.Sprintf("%09d", number))
		return from.Send(to.Pub, payload)
	}
	for number := range inFlight {
		if err := send(number); err != nil {
			return err
		}
	}
	for number := range packets {
		message, ok, err := to.Receive(harness.ReplyTimeout)
		if err != nil || !ok {
			return fmt.Errorf("waiting for packet %d: %w", number, err)
		}
		packet, ok := message.(harness.Packet)
		if !ok || string(packet.Data[:9]) != fmt.Sprintf("%09d", number) {
			return fmt.Errorf("got something else than packet %d", number)
		}
		if number+inFlight < packets {
			if err := send(number + inFlight); err != nil {
				return err
			}
		}
	}
	return nil
}
