// TLS as Tailscale's clients use it: versions, names, and the meta certificate that tells the server's key.

package conformance

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"strings"
	"testing"

	"tailscale.com/types/key"

	"towline.test/interop/harness"
)

const metaPrefix = "derpkey"

// metaKey reads the server's key from the last certificate, as a client that wants to start fast does.
func metaKey(t *testing.T, state tls.ConnectionState) key.NodePublic {
	t.Helper()
	last := state.PeerCertificates[len(state.PeerCertificates)-1]
	text, found := strings.CutPrefix(last.Subject.CommonName, metaPrefix)
	raw, err := hex.DecodeString(text)
	if !found || err != nil || len(raw) != 32 {
		t.Fatalf("the last certificate is for %q, not a meta certificate", last.Subject.CommonName)
	}
	return harness.PublicKey(raw)
}

func TestMetaCertificate(t *testing.T) {
	t.Parallel()
	relay := harness.Start(t, harness.Options{})
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		config := harness.ClientTLS(relay.ServerName)
		config.MinVersion, config.MaxVersion = version, version
		conn, err := relay.Dial(config)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		state := conn.(*tls.Conn).ConnectionState()
		if len(state.PeerCertificates) != 2 {
			t.Fatalf("%d certificates, want the leaf and the meta certificate", len(state.PeerCertificates))
		}
		meta := state.PeerCertificates[1]
		if got := metaKey(t, state); got != relay.Key.Public() {
			t.Errorf("meta certificate for %v, want %v", got, relay.Key.Public())
		}
		if meta.SerialNumber.Int64() != 2 {
			t.Errorf("serial number %v, want the protocol version 2", meta.SerialNumber)
		}
		basicConstraints := asn1.ObjectIdentifier{2, 5, 29, 19}
		if len(meta.Extensions) != 1 || !meta.Extensions[0].Id.Equal(basicConstraints) {
			t.Errorf("extensions %v, want only BasicConstraints", meta.Extensions)
		}
		if meta.PublicKeyAlgorithm != x509.Ed25519 {
			t.Errorf("key algorithm %v, want Ed25519", meta.PublicKeyAlgorithm)
		}
		if err := meta.CheckSignature(meta.SignatureAlgorithm, meta.RawTBSCertificate, meta.Signature); err != nil {
			t.Errorf("the meta certificate is not signed by itself: %v", err)
		}
	}
}

// A client that knows only TLS 1.2 gets everything but the fast start.
func TestOldTLS(t *testing.T) {
	t.Parallel()
	relay := harness.Start(t, harness.Options{})
	for _, suite := range []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	} {
		config := harness.ClientTLS(relay.ServerName)
		config.MaxVersion = tls.VersionTLS12
		config.CipherSuites = []uint16{suite}
		client := relay.Connect(t, tls.CipherSuiteName(suite), harness.ClientOptions{TLS: config})
		if err := stream(client, client, 500, 16); err != nil {
			t.Error(err)
		}
		packet := make([]byte, harness.MaxPacketBytes)
		client.SendTo(t, client.Pub, packet)
		client.WantPacket(t, client.Pub, packet)
	}
	config := harness.ClientTLS(relay.ServerName)
	config.MinVersion, config.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	if _, err := relay.Dial(config); err == nil {
		t.Error("TLS 1.1 was accepted")
	}
}

// A relay with a DNS name answers only for it; one with an IP address takes any name.
func TestServerName(t *testing.T) {
	t.Parallel()
	named := harness.Start(t, harness.Options{Hostname: harness.DNSName})
	named.Connect(t, "client", harness.ClientOptions{}).WantAlive(t)
	numbered := harness.Start(t, harness.Options{})
	for _, name := range []string{"wrong.interop.test", ""} {
		config := &tls.Config{InsecureSkipVerify: true, ServerName: name}
		if conn, err := named.Dial(config); err == nil {
			conn.Close()
			t.Errorf("the server name %q was accepted", name)
		}
		conn, err := numbered.Dial(config)
		if err != nil {
			t.Errorf("the server name %q was refused by a relay with an IP address: %v", name, err)
			continue
		}
		conn.Close()
	}
}

// ALPN: HTTP/1.1 when the client offers it, and never HTTP/2. Resumption with a ticket works.
func TestALPNAndResumption(t *testing.T) {
	t.Parallel()
	relay := harness.Start(t, harness.Options{})
	cache := tls.NewLRUClientSessionCache(4)
	for attempt := range 2 {
		config := harness.ClientTLS(relay.ServerName)
		config.NextProtos = []string{"h2", "http/1.1"}
		config.ClientSessionCache = cache
		client := relay.Connect(t, "client", harness.ClientOptions{TLS: config})
		client.WantAlive(t) // the ticket has arrived before the pong
		state := client.Conn.(*tls.Conn).ConnectionState()
		if state.NegotiatedProtocol != "http/1.1" {
			t.Errorf("negotiated %q, want http/1.1", state.NegotiatedProtocol)
		}
		if resumed := attempt > 0; state.DidResume != resumed {
			t.Errorf("connection %d resumed: %v, want %v", attempt, state.DidResume, resumed)
		}
	}
}
