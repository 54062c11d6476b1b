// The admission service answers, refuses, fails, hangs, and comes back.

package faults

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"tailscale.com/types/key"

	"towline.test/interop/harness"
)

// admission is a service whose behaviour the test changes while a relay asks it.
type admission struct {
	*httptest.Server
	mu       sync.Mutex
	answer   func(http.ResponseWriter, question)
	asked    int
	lastSeen question
}

type question struct {
	NodePublic key.NodePublic
	Source     string
}

func startAdmission(t *testing.T) *admission {
	service := &admission{}
	service.set(allow)
	service.Server = httptest.NewServer(http.HandlerFunc(service.serve))
	t.Cleanup(service.Close)
	return service
}

func (s *admission) serve(w http.ResponseWriter, r *http.Request) {
	var asked question
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil || r.Method != http.MethodPost {
		http.Error(w, fmt.Sprintf("%s %v", r.Method, err), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	s.asked++
	s.lastSeen = asked
	answer := s.answer
	s.mu.Unlock()
	answer(w, asked)
}

func (s *admission) set(answer func(http.ResponseWriter, question)) {
	s.mu.Lock()
	s.answer = answer
	s.mu.Unlock()
}

func allow(w http.ResponseWriter, _ question)  { fmt.Fprint(w, `{"Allow":true}`) }
func refuse(w http.ResponseWriter, _ question) { fmt.Fprint(w, `{"Allow":false}`) }

func failClosed(relay harness.Kind, url string, more ...string) []string {
	args := append([]string{"-verify-client-url", url}, more...)
	if relay == harness.Derper {
		// The one deliberate difference: ours fails closed by itself.
		args = append(args, "-verify-client-url-fail-open=false")
	}
	return args
}

func TestAdmissionAnswers(t *testing.T) {
	t.Parallel()
	service := startAdmission(t)
	relay := harness.Start(t, harness.Options{Args: failClosed(harness.UnderTest(t), service.URL+"/verify"), Mesh: true})

	client := relay.Connect(t, "allowed", harness.ClientOptions{})
	client.WantAlive(t)
	if service.lastSeen.NodePublic != client.Pub || service.lastSeen.Source != "127.0.0.1" {
		t.Errorf("the service was asked about %v", service.lastSeen)
	}
	for name, answer := range map[string]func(http.ResponseWriter, question){
		"refused":        refuse,
		"no JSON":        func(w http.ResponseWriter, _ question) { fmt.Fprint(w, "yes") },
		"empty":          func(http.ResponseWriter, question) {},
		"other JSON":     func(w http.ResponseWriter, _ question) { fmt.Fprint(w, `{"Permit":true}`) },
		"internal error": func(w http.ResponseWriter, q question) { w.WriteHeader(500); allow(w, q) },
		"not found":      func(w http.ResponseWriter, q question) { w.WriteHeader(404); allow(w, q) },
		"created":        func(w http.ResponseWriter, q question) { w.WriteHeader(201); allow(w, q) },
	} {
		service.set(answer)
		if newcomer, err := relay.TryConnect(name, harness.ClientOptions{}); err == nil {
			t.Errorf("%s: the client was admitted", name)
			newcomer.Close()
		}
	}
	// Mesh peers are trusted by their key; the service does not know them.
	relay.Connect(t, "mesh", harness.ClientOptions{MeshKey: harness.MeshKey}).WantAlive(t)
	client.WantAlive(t)
	service.set(allow)
	relay.Connect(t, "allowed again", harness.ClientOptions{}).WantAlive(t)
}

// The service is gone, or hangs: newcomers are refused, connected clients stay, and all is well when it is back.
func TestAdmissionOutage(t *testing.T) {
	t.Parallel()
	service := startAdmission(t)
	relay := harness.Start(t, harness.Options{Args: failClosed(harness.UnderTest(t), service.URL+"/verify")})
	known := key.NewNode()
	relay.Connect(t, "known", harness.ClientOptions{Key: known}).Close()
	bystanders := startBystanders(t, relay)
	before := relay.Resources(t)

	addr := service.Listener.Addr().String()
	service.Close()
	attempts := 200
	if testing.Short() {
		attempts = 20
	}
	for range attempts {
		if client, err := relay.TryConnect("unknown", harness.ClientOptions{}); err == nil {
			client.Close()
			t.Fatal("an unknown client was admitted without the service")
		}
	}
	if relay.Kind == harness.Towline {
		// Ours remembers whom the service has allowed, for a while.
		relay.Connect(t, "known", harness.ClientOptions{Key: known}).WantAlive(t)
	}

	// It accepts connections again, but does not answer: five seconds, then no.
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	var waiting sync.WaitGroup
	for range 20 {
		waiting.Go(func() {
			if client, err := relay.TryConnect("waiting", harness.ClientOptions{}); err == nil {
				client.Close()
				t.Error("a client was admitted while the service hangs")
			}
		})
	}
	waiting.Wait()
	if took := time.Since(start); took > 9*time.Second {
		t.Errorf("the relay waited %v for the service", took)
	}
	listener.Close()

	listener, err = net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	revived := &http.Server{Handler: http.HandlerFunc(service.serve)}
	go revived.Serve(listener)
	defer revived.Close()
	if !harness.Poll(15*time.Second, func() bool {
		client, err := relay.TryConnect("newcomer", harness.ClientOptions{})
		if err == nil {
			client.Close()
		}
		return err == nil
	}) {
		t.Error("nobody is admitted although the service is back")
	}
	bystanders.wantUndisturbed(t, 2*time.Second)
	revived.Close()
	wantSettled(t, relay, before)
}

// Fail-open covers a service that cannot be reached, not one that says no.
func TestAdmissionFailOpen(t *testing.T) {
	t.Parallel()
	service := startAdmission(t)
	relay := harness.Start(t, harness.Options{Args: []string{"-verify-client-url", service.URL, "-verify-client-url-fail-open=true"}})
	service.set(refuse)
	if _, err := relay.TryConnect("refused", harness.ClientOptions{}); err == nil {
		t.Error("a refused client was admitted")
	}
	service.set(func(w http.ResponseWriter, _ question) { w.WriteHeader(503) })
	if _, err := relay.TryConnect("unavailable", harness.ClientOptions{}); err == nil {
		t.Error("a client was admitted although the service answered 503")
	}
	service.Close()
	relay.Connect(t, "unreachable", harness.ClientOptions{}).WantAlive(t)
}
