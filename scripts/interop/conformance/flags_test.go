//go:build !coder

// Flags of derper that change what clients see: rate limits, limits on new connections, bootstrap DNS, the key file.

package conformance

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"towline.test/interop/harness"
)

// A rate limit delays a sender and loses nothing; SIGHUP changes it for connected clients.
func TestRateConfig(t *testing.T) {
	t.Parallel()
	const bytesPerSecond, packetBytes = 1_000_000, 20_000
	file := filepath.Join(t.TempDir(), "rate.json")
	limit := func(bytes int) {
		text := fmt.Sprintf(`{"PerClientRateLimitBytesPerSec": %d, "PerClientRateBurstBytes": 1000}`, bytes)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	limit(bytesPerSecond)
	relay := harness.Start(t, harness.Options{Args: []string{"-rate-config", file}})
	sender := relay.Connect(t, "sender", harness.ClientOptions{})
	receiver := relay.Connect(t, "receiver", harness.ClientOptions{})
	send := func(packets int) time.Duration {
		t.Helper()
		start := time.Now()
		packet := make([]byte, packetBytes)
		sent := make(chan error, 1)
		go func() {
			for range packets {
				if err := sender.Send(receiver.Pub, packet); err != nil {
					sent <- err
					return
				}
			}
			sent <- nil
		}()
		for range packets {
			receiver.WantPacket(t, sender.Pub, packet)
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
		return time.Since(start)
	}

	// The burst is raised to the largest frame, 65568 bytes: 2 MB less that take 1.9 s.
	if took := send(100); took < 1700*time.Millisecond || took > 3*time.Second {
		t.Errorf("2 MB at 1 MB/s took %v", took)
	}
	relay.WaitMetrics(t, map[string]float64{
		"derp_rate_limit_per_client_bytes_per_second": bytesPerSecond,
		"derp_rate_limit_per_client_burst_bytes":      65568,
	})
	if relay.Metrics(t)["derp_rate_limit_per_client_waited"] == 0 {
		t.Error("derp_rate_limit_per_client_waited is 0")
	}
	limit(0)
	relay.Signal(t, syscall.SIGHUP)
	relay.WaitMetric(t, "derp_rate_limit_per_client_bytes_per_second", 0)
	if took := send(20); took > time.Second {
		t.Errorf("0.4 MB without a limit took %v", took)
	}
	limit(bytesPerSecond)
	relay.Signal(t, syscall.SIGHUP)
	relay.WaitMetric(t, "derp_rate_limit_per_client_bytes_per_second", bytesPerSecond)
	if took := send(50); took < 700*time.Millisecond {
		t.Errorf("1 MB at 1 MB/s took only %v", took)
	}
}

// Above the limit, connections are accepted and closed at once. That is what derper's manual says as
// well, but derper itself ends at the first such connection.
func TestAcceptLimit(t *testing.T) {
	t.Parallel()
	relay := harness.Start(t, harness.Options{Args: []string{"-accept-connection-limit", "2", "-accept-connection-burst", "6"}})
	time.Sleep(3 * time.Second) // the bucket is full again after the start's own connections
	rejected := 0
	for range 20 {
		if conn, err := relay.Dial(nil); err == nil {
			conn.Close()
		} else {
			rejected++
		}
	}
	if relay.Kind == harness.Derper {
		relay.WantEnd(t)
		return
	}
	if rejected < 10 || rejected > 14 {
		t.Errorf("%d of 20 connections were rejected, want those above the burst of 6", rejected)
	}
	time.Sleep(2 * time.Second)
	relay.Connect(t, "patient client", harness.ClientOptions{}).WantAlive(t)
	metrics := relay.Metrics(t)
	if got := metrics["tls_listener_rejected_connections"]; got != float64(rejected) {
		t.Errorf("tls_listener_rejected_connections is %v, want %d", got, rejected)
	}
	if metrics["tls_listener_accepted_connections"] == 0 {
		t.Error("tls_listener_accepted_connections is 0")
	}
}

// Names that clients may need when their own DNS fails: some for all, some only for those who ask by name.
func TestBootstrapDNS(t *testing.T) {
	t.Parallel()
	relay := harness.Start(t, harness.Options{Plain: true, Args: []string{
		"-bootstrap-dns-names", "localhost", "-unpublished-bootstrap-dns-names", "127.0.0.2"}})
	published := map[string]string{"localhost": "127.0.0.1"}
	for query, want := range map[string]map[string]string{
		"":             published,
		"?q=localhost": published,
		"?q=stranger":  published,
		"?q=127.0.0.2": {"127.0.0.2": "127.0.0.2"},
	} {
		var got map[string][]string
		if !harness.Poll(harness.ReplyTimeout, func() bool { got = bootstrapDNS(t, relay, query); return len(got) > 0 }) {
			t.Fatalf("%q: no names", query)
		}
		for name, addr := range want {
			if len(got) != 1 || !slices.Contains(got[name], addr) {
				t.Errorf("%q: got %v, want %v with %v", query, got, name, addr)
			}
		}
	}
	metrics := relay.Metrics(t)
	for name, least := range map[string]float64{
		"bootstrap_dns_requests":           4,
		"bootstrap_dns_published_hits":     1,
		"bootstrap_dns_unpublished_hits":   1,
		"bootstrap_dns_unpublished_misses": 1,
		"bootstrap_dns_queried_domains":    3,
	} {
		if metrics[name] < least {
			t.Errorf("%s is %v, want at least %v", name, metrics[name], least)
		}
	}
}

func bootstrapDNS(t *testing.T, relay *harness.Relay, query string) (names map[string][]string) {
	t.Helper()
	response, err := http.Get(relay.URL("/bootstrap-dns" + query))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	json.NewDecoder(response.Body).Decode(&names) // empty until the names are resolved
	return names
}

// A key file that is not there is made, private, and read again at the next start.
func TestKeyFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "deeper", "relay.key")
	var keys []string
	for range 2 {
		relay := harness.Start(t, harness.Options{Args: []string{"-c", file}}) // the last -c counts
		wire := relay.Wire(t)
		keys = append(keys, wire.ServerKey.String())
		relay.Kill()
	}
	if keys[0] != keys[1] {
		t.Errorf("key %s at the first start, %s at the second", keys[0], keys[1])
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the key file has mode %v", info.Mode())
	}
	var content struct{ PrivateKey string }
	text, err := os.ReadFile(file)
	if err != nil || json.Unmarshal(text, &content) != nil || len(content.PrivateKey) != len("privkey:")+64 {
		t.Errorf("the key file holds %d bytes, %v", len(text), err)
	}
}
