// Clients that say almost nothing, at each stage of the handshake: the relay ends them after its
// timeouts, and meanwhile serves the others.

package faults

import (
	"crypto/tls"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"tailscale.com/types/key"

	"towline.test/interop/harness"
)

// Timeouts of the stages, with what a busy machine adds.
const (
	requestTimeout = 30*time.Second + 6*time.Second // TLS handshake and HTTP head, each
	derpTimeout    = 10*time.Second + 4*time.Second // ClientInfo
)

// slowClient does its stage and then keeps the connection open; it returns what else it would write.
type slowClient struct {
	name    string
	timeout time.Duration
	begin   func(*testing.T, *harness.Relay) (net.Conn, []byte)
}

var slowClients = []slowClient{
	{"silent from the start", requestTimeout, func(t *testing.T, r *harness.Relay) (net.Conn, []byte) {
		return dialTCP(t, r), nil
	}},
	{"half a ClientHello", requestTimeout, func(t *testing.T, r *harness.Relay) (net.Conn, []byte) {
		conn := dialTCP(t, r)
		conn.Write(clientHello(r)[:100])
		return conn, nil
	}},
	{"a ClientHello byte by byte", requestTimeout, func(t *testing.T, r *harness.Relay) (net.Conn, []byte) {
		return dialTCP(t, r), clientHello(r)
	}},
	{"silent after TLS", requestTimeout, func(t *testing.T, r *harness.Relay) (net.Conn, []byte) {
		return r.BareWire(t).Conn, nil
	}},
	{"half a request", requestTimeout, func(t *testing.T, r *harness.Relay) (net.Conn, []byte) {
		wire := r.BareWire(t)
		wire.WriteString(t, harness.UpgradeRequest(r)[:40])
		return wire.Conn, nil
	}},
	{"a request byte by byte", requestTimeout, func(t *testing.T, r *harness.Relay) (net.Conn, []byte) {
		return r.BareWire(t).Conn, []byte(harness.UpgradeRequest(r))
	}},
	{"silent after the upgrade", derpTimeout, func(t *testing.T, r *harness.Relay) (net.Conn, []byte) {
		return r.Wire(t).Conn, nil
	}},
	{"half a ClientInfo", derpTimeout, func(t *testing.T, r *harness.Relay) (net.Conn, []byte) {
		wire := r.Wire(t)
		wire.WriteString(t, string(harness.Frame(harness.FrameClientInfo, wire.ClientInfo(`{}`))[:50]))
		return wire.Conn, nil
	}},
	{"a ClientInfo byte by byte", derpTimeout, func(t *testing.T, r *harness.Relay) (net.Conn, []byte) {
		wire := r.Wire(t)
		return wire.Conn, harness.Frame(harness.FrameClientInfo, wire.ClientInfo(`{}`))
	}},
	{"a huge ClientInfo", derpTimeout, func(t *testing.T, r *harness.Relay) (net.Conn, []byte) {
		wire := r.Wire(t)
		wire.WriteString(t, string(harness.Frame(harness.FrameClientInfo, make([]byte, 256<<10))[:200<<10]))
		return wire.Conn, nil
	}},
	{"a silent WebSocket", derpTimeout, func(t *testing.T, r *harness.Relay) (net.Conn, []byte) {
		wire := r.BareWire(t)
		wire.WriteString(t, harness.UpgradeRequest(r, "Upgrade: websocket", "Sec-WebSocket-Protocol: derp",
			"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="))
		wire.ReadResponse(t)
		return wire.Conn, nil
	}},
}

func TestSlowClients(t *testing.T) {
	if testing.Short() {
		t.Skip("the quick run does not wait for the timeouts")
	}
	t.Parallel()
	const each = 10
	relay := harness.Start(t, harness.Options{})
	bystanders := startBystanders(t, relay)
	before := relay.Resources(t)
	var ends sync.WaitGroup
	for _, slow := range slowClients {
		for range each {
			conn, rest := slow.begin(t, relay)
			start := time.Now()
			go trickle(conn, rest)
			ends.Go(func() {
				conn.SetReadDeadline(start.Add(slow.timeout))
				if _, err := io.Copy(io.Discard, conn); harness.IsTimeout(err) {
					t.Errorf("%s: still connected after %v", slow.name, slow.timeout)
				}
				conn.Close()
			})
		}
	}
	held := relay.Resources(t)
	if held.Descriptors < before.Descriptors+each*len(slowClients)/2 {
		t.Errorf("only %d descriptors: the slow clients are gone already", held.Descriptors)
	}
	// Good clients get in meanwhile, at once.
	for range 20 {
		start := time.Now()
		client := relay.Connect(t, "newcomer", harness.ClientOptions{Key: key.NewNode()})
		client.WantAlive(t)
		client.Close()
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("a newcomer waited %v", took)
		}
		time.Sleep(200 * time.Millisecond)
	}
	ends.Wait()
	bystanders.wantUndisturbed(t, 2*time.Second)
	wantSettled(t, relay, before)
}

// trickle writes one byte a second, until the connection ends.
func trickle(conn net.Conn, bytes []byte) {
	for i := range bytes {
		if _, err := conn.Write(bytes[i : i+1]); err != nil {
			return
		}
		time.Sleep(time.Second)
	}
}

func dialTCP(t *testing.T, relay *harness.Relay) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", relay.Addr(), harness.ReplyTimeout)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// clientHello is what a TLS client writes first.
func clientHello(relay *harness.Relay) []byte {
	ours, theirs := net.Pipe()
	defer ours.Close()
	go tls.Client(theirs, harness.ClientTLS(relay.ServerName)).Handshake()
	hello := make([]byte, 16<<10)
	n, _ := ours.Read(hello)
	return hello[:n]
}
