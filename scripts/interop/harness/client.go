// Tailscale's own client on a connection to a relay, with an inbox that tests can wait on.

package harness

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go4.org/mem"
	"tailscale.com/derp"
	"tailscale.com/types/key"
)

// What a client receives, in the same form from every version of Tailscale's package.
type (
	Packet struct {
		From key.NodePublic
		Data []byte
	}
	Gone struct {
		Peer   key.NodePublic
		Reason GoneReason
	}
	Present struct {
		Key   key.NodePublic
		Addr  netip.AddrPort // not known to older clients
		Flags byte           // not known to older clients
	}
	Pong [8]byte
)

// GoneReason says why a peer is gone.
type GoneReason byte

const (
	GoneDisconnected GoneReason = 0
	GoneNotHere      GoneReason = 1
)

// Flags of Present.
const (
	PresentRegular  = 1
	PresentMesh     = 2
	PresentProber   = 4
	PresentNotIdeal = 8
)

// ClientOptions of a client. The zero value is a regular client with a new key over derper's usual transport.
type ClientOptions struct {
	Key         key.NodePrivate
	MeshKey     string
	Prober      bool
	CanAckPings bool
	IdealNode   string      // what it says in the header Ideal-Node
	TLS         *tls.Config // nil = the run's authority, newest version
	WebSocket   bool
	ReadBuffer  int    // SO_RCVBUF in bytes; 0 = the system's
	From        string // the address it comes from; "" = the system's choice
}

// Client is a connected client. Its messages are read all the time, unless it is frozen.
type Client struct {
	*derp.Client
	Name string
	Pub  key.NodePublic
	Conn net.Conn

	gate    *gatedConn
	inbox   chan any
	recvErr error // set before inbox is closed
}

// Connect connects a client that ends with the test.
func (r *Relay) Connect(t testing.TB, name string, options ClientOptions) *Client {
	t.Helper()
	client, err := r.TryConnect(name, options)
	if err != nil {
		t.Fatalf("connecting %s to %s: %v", name, r.Kind, err)
	}
	t.Cleanup(client.Close)
	return client
}

// TryConnect connects a client; the first message must be the server's info, as real clients demand.
func (r *Relay) TryConnect(name string, options ClientOptions) (*Client, error) {
	if options.Key.IsZero() {
		options.Key = key.NewNode()
	}
	conn, reader, err := r.transport(options)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(ReplyTimeout))
	gate := &gatedConn{Conn: conn}
	gate.open = sync.NewCond(&gate.mu)
	// What the reader already holds comes first, then the gate decides.
	rest, _ := reader.Peek(reader.Buffered())
	gate.early = bytes.Clone(rest)
	stream := bufio.NewReadWriter(bufio.NewReader(gate), bufio.NewWriter(conn))
	logf := func(string, ...any) {}
	inner, err := derp.NewClient(options.Key, gate, stream, logf, derpOptions(options)...)
	if err != nil {
		conn.Close()
		return nil, err
	}
	first, err := inner.Recv()
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("first message: %w", err)
	}
	if _, ok := first.(derp.ServerInfoMessage); !ok {
		conn.Close()
		return nil, fmt.Errorf("first message is %T, not the server's info", first)
	}
	conn.SetDeadline(time.Time{})
	client := &Client{Client: inner, Name: name, Pub: options.Key.Public(), Conn: conn, gate: gate, inbox: make(chan any, 4096)}
	go client.receive()
	return client, nil
}

func (r *Relay) transport(options ClientOptions) (net.Conn, *bufio.Reader, error) {
	if options.WebSocket {
		conn, err := r.DialWebSocket(options.TLS, "derp")
		if err != nil {
			return nil, nil, err
		}
		stream := websocket.NetConn(context.Background(), conn, websocket.MessageBinary)
		return stream, bufio.NewReader(stream), nil
	}
	conn, err := r.DialFrom(options.From, options.TLS)
	if err != nil {
		return nil, nil, err
	}
	if options.ReadBuffer > 0 {
		socket := conn
		if secure, ok := conn.(*tls.Conn); ok {
			socket = secure.NetConn()
		}
		if err := socket.(*net.TCPConn).SetReadBuffer(options.ReadBuffer); err != nil {
			return nil, nil, err
		}
	}
	var headers []string
	if options.IdealNode != "" {
		headers = append(headers, "Ideal-Node: "+options.IdealNode)
	}
	conn.SetDeadline(time.Now().Add(ReplyTimeout))
	if _, err := conn.Write([]byte(UpgradeRequest(r, headers...))); err != nil {
		conn.Close()
		return nil, nil, err
	}
	reader := bufio.NewReader(conn)
	response, err := http.ReadResponse(reader, nil)
	if err != nil {
		conn.Close()
		return nil, nil, fmt.Errorf("upgrade: %w", err)
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		conn.Close()
		return nil, nil, fmt.Errorf("upgrade: %s", response.Status)
	}
	return conn, reader, nil
}

// DialWebSocket opens a WebSocket to /derp with these sub-protocols.
func (r *Relay) DialWebSocket(config *tls.Config, protocols ...string) (*websocket.Conn, error) {
	if config == nil {
		config = ClientTLS(r.ServerName)
	}
	ctx, cancel := context.WithTimeout(context.Background(), ReplyTimeout)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, r.URL("/derp"), &websocket.DialOptions{
		Subprotocols: protocols,
		HTTPClient:   &http.Client{Transport: &http.Transport{TLSClientConfig: config}},
	})
	if err != nil {
		return nil, err
	}
	conn.SetReadLimit(1 << 20)
	return conn, nil
}

func (c *Client) receive() {
	for {
		message, err := c.Client.Recv()
		if err != nil {
			c.recvErr = err
			close(c.inbox)
			return
		}
		switch message.(type) {
		case derp.KeepAliveMessage:
			continue
		case derp.HealthMessage:
			// towline tells duplicates that fight; derper never sends it. No scenario depends on it.
			continue
		}
		c.inbox <- plainMessage(message)
	}
}

// Close ends the connection at once.
func (c *Client) Close() {
	c.gate.set(true)
	c.Conn.Close()
}

// Freeze stops reading from the connection; at most what is in flight inside this process is still taken.
func (c *Client) Freeze() { c.gate.set(false) }

// Thaw goes on reading.
func (c *Client) Thaw() { c.gate.set(true) }

// SendTo sends a packet.
func (c *Client) SendTo(t testing.TB, to key.NodePublic, data []byte) {
	t.Helper()
	if err := c.Send(to, data); err != nil {
		t.Fatalf("%s sends: %v", c.Name, err)
	}
}

// Receive waits for the next message; false means that none came.
func (c *Client) Receive(timeout time.Duration) (message any, ok bool, err error) {
	select {
	case message, open := <-c.inbox:
		if !open {
			return nil, false, c.recvErr
		}
		return message, true, nil
	case <-time.After(timeout):
		return nil, false, nil
	}
}

// Next waits for the next message.
func (c *Client) Next(t testing.TB) any {
	t.Helper()
	message, ok, err := c.Receive(ReplyTimeout)
	if err != nil {
		t.Fatalf("%s: %v", c.Name, err)
	}
	if !ok {
		t.Fatalf("%s: no message within %v", c.Name, ReplyTimeout)
	}
	return message
}

// WantPacket expects this packet next.
func (c *Client) WantPacket(t testing.TB, from key.NodePublic, data []byte) {
	t.Helper()
	message := c.Next(t)
	packet, ok := message.(Packet)
	if !ok || packet.From != from || !bytes.Equal(packet.Data, data) {
		t.Fatalf("%s: got %s, want this packet of %d bytes from %v", c.Name, brief(message), len(data), from.ShortString())
	}
}

// WantGone expects the notice that this peer is gone next.
func (c *Client) WantGone(t testing.TB, peer key.NodePublic, reason GoneReason) {
	t.Helper()
	want := Gone{Peer: peer, Reason: reason}
	if message := c.Next(t); message != want {
		t.Fatalf("%s: got %s, want %s", c.Name, brief(message), brief(want))
	}
}

// WantPresent expects notices that exactly these peers are present, in any order, and returns them.
func (c *Client) WantPresent(t testing.TB, peers ...key.NodePublic) map[key.NodePublic]Present {
	t.Helper()
	got := map[key.NodePublic]Present{}
	for range peers {
		present, ok := c.Next(t).(Present)
		if !ok {
			t.Fatalf("%s: got a message that is not about a present peer", c.Name)
		}
		got[present.Key] = present
	}
	for _, peer := range peers {
		if _, ok := got[peer]; !ok {
			t.Fatalf("%s: %v is not among the %d present peers", c.Name, peer.ShortString(), len(got))
		}
	}
	return got
}

// WantNothing expects that no message comes within this time.
func (c *Client) WantNothing(t testing.TB, within time.Duration) {
	t.Helper()
	message, ok, err := c.Receive(within)
	if err != nil {
		t.Fatalf("%s: %v", c.Name, err)
	}
	if ok {
		t.Fatalf("%s: got %s, want nothing", c.Name, brief(message))
	}
}

// WantClosed expects that the relay ends the connection, whatever comes before.
func (c *Client) WantClosed(t testing.TB, within time.Duration) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		_, ok, err := c.Receive(time.Until(deadline))
		if err != nil {
			return
		}
		if !ok {
			t.Fatalf("%s: still connected after %v", c.Name, within)
		}
	}
}

// WantAlive expects an answer to a ping, with no other message before it.
func (c *Client) WantAlive(t testing.TB) {
	t.Helper()
	ping := [8]byte{'i', 's', ' ', 'a', 'l', 'i', 'v', 'e'}
	if err := c.SendPing(ping); err != nil {
		t.Fatalf("%s pings: %v", c.Name, err)
	}
	if message := c.Next(t); message != Pong(ping) {
		t.Fatalf("%s: got %s, want the pong", c.Name, brief(message))
	}
}

// PublicKey reads a key from its 32 bytes.
func PublicKey(raw []byte) key.NodePublic { return key.NodePublicFromRaw32(mem.B(raw)) }

func brief(message any) string {
	switch message := message.(type) {
	case Packet:
		return fmt.Sprintf("packet of %d bytes from %v", len(message.Data), message.From.ShortString())
	case Gone:
		return fmt.Sprintf("peer %v gone for reason %d", message.Peer.ShortString(), message.Reason)
	case Present:
		return fmt.Sprintf("peer %v present", message.Key.ShortString())
	default:
		return fmt.Sprintf("%T %v", message, message)
	}
}

// gatedConn is a connection whose reading can be stopped.
type gatedConn struct {
	net.Conn
	early []byte // read from the connection before the gate was there
	mu    sync.Mutex
	open  *sync.Cond
	shut  bool
}

func (g *gatedConn) Read(p []byte) (int, error) {
	g.mu.Lock()
	for g.shut {
		g.open.Wait()
	}
	g.mu.Unlock()
	if len(g.early) > 0 {
		n := copy(p, g.early)
		g.early = g.early[n:]
		return n, nil
	}
	return g.Conn.Read(p)
}

func (g *gatedConn) set(open bool) {
	g.mu.Lock()
	g.shut = !open
	g.mu.Unlock()
	g.open.Broadcast()
}
