//go:build !coder

// The pages of a relay, as clients, browsers and monitoring see them: status, headers and bodies.

package conformance

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"towline.test/interop/harness"
)

// page is one request and what must come back. An empty header value in want means: not there.
type page struct {
	method, path string
	headers      map[string]string
	status       int
	want         map[string]string
	body         string // "" = not looked at, except that HEAD has none
}

// Headers that browsers are told with every page for people.
var browserHeaders = map[string]string{
	"Content-Security-Policy":   "default-src 'self'; frame-ancestors 'none'; form-action 'self'; base-uri 'self'; block-all-mixed-content; object-src 'none'",
	"Strict-Transport-Security": "max-age=63072000; includeSubDomains",
	"X-Content-Type-Options":    "nosniff",
	"X-Frame-Options":           "DENY",
}

const (
	noCache   = "no-cache, no-store, must-revalidate, no-transform, max-age=0"
	plainText = "text/plain; charset=utf-8"
	htmlText  = "text/html; charset=utf-8"
)

func with(base map[string]string, more ...string) map[string]string {
	all := map[string]string{}
	for name, value := range base {
		all[name] = value
	}
	for i := 0; i < len(more); i += 2 {
		all[more[i]] = more[i+1]
	}
	return all
}

func TestPages(t *testing.T) {
	t.Parallel()
	tlsRelay := harness.Start(t, harness.Options{})
	plainRelay := harness.Start(t, harness.Options{Plain: true})
	home := with(browserHeaders, "Content-Type", htmlText)
	probe := map[string]string{"Access-Control-Allow-Origin": "*", "Content-Length": "0"}
	errorText := map[string]string{"Content-Type": plainText, "X-Content-Type-Options": "nosniff"}
	const upgradeBody, probeBody = "DERP requires connection upgrade\n", "bogus probe method\n"
	challenge := func(c string) map[string]string { return map[string]string{"X-Tailscale-Challenge": c} }
	longest := strings.Repeat("c", 64)
	for _, p := range []page{
		{"GET", "/", nil, 200, home, ""},
		{"HEAD", "/", nil, 200, home, ""},
		{"POST", "/", nil, 200, home, ""},
		{"GET", "/unknown/path?query=1", nil, 200, home, ""},
		{"GET", "/derp/unknown", nil, 200, home, ""},
		{"GET", "/robots.txt", nil, 200, with(browserHeaders, "Content-Type", plainText), "User-agent: *\nDisallow: /\n"},
		{"GET", "/derp/probe", nil, 200, probe, ""},
		{"HEAD", "/derp/probe", nil, 200, map[string]string{"Access-Control-Allow-Origin": "*"}, ""},
		{"GET", "/derp/latency-check", nil, 200, probe, ""},
		{"GET", "/derp/latency-check?nocache=1", nil, 200, probe, ""},
		{"POST", "/derp/probe", nil, 405, errorText, probeBody},
		{"PUT", "/derp/latency-check", nil, 405, errorText, probeBody},
		{"GET", "/derp", nil, 426, errorText, upgradeBody},
		{"POST", "/derp", nil, 426, errorText, upgradeBody},
		{"GET", "/derp", map[string]string{"Upgrade": "h2c", "Connection": "Upgrade"}, 426, errorText, upgradeBody},
		{"GET", "/derp", map[string]string{"Derp-Fast-Start": "1"}, 426, errorText, upgradeBody},
		{"GET", "/generate_204", nil, 204, map[string]string{"Cache-Control": noCache, "X-Tailscale-Response": ""}, ""},
		{"POST", "/generate_204", nil, 204, map[string]string{"Cache-Control": noCache}, ""},
		{"GET", "/generate_204", challenge("ts_derp-01.example:443"), 204, map[string]string{"X-Tailscale-Response": "response ts_derp-01.example:443"}, ""},
		{"GET", "/generate_204", challenge(longest), 204, map[string]string{"X-Tailscale-Response": "response " + longest}, ""},
		{"GET", "/generate_204", challenge(longest + "c"), 204, map[string]string{"X-Tailscale-Response": ""}, ""},
		{"GET", "/generate_204", challenge("with space"), 204, map[string]string{"X-Tailscale-Response": ""}, ""},
		{"GET", "/generate_204", challenge("<script>"), 204, map[string]string{"X-Tailscale-Response": ""}, ""},
		{"GET", "/bootstrap-dns", nil, 200, with(browserHeaders, "Content-Type", "application/json", "Content-Length", "0"), ""},
		{"GET", "/bootstrap-dns?q=example.com", nil, 200, with(browserHeaders, "Content-Type", "application/json", "Content-Length", "0"), ""},
		{"GET", "/debug/varz", map[string]string{"X-Forwarded-For": "127.0.0.1"}, 403, errorText, "debug access denied\n"},
	} {
		for _, relay := range []*harness.Relay{tlsRelay, plainRelay} {
			p.check(t, relay.ServerName, relay.URL(p.path))
		}
	}
}

// The plain HTTP port of a TLS relay: captive portal checks, redirects, metrics for those who may see them.
func TestHTTPPort(t *testing.T) {
	t.Parallel()
	relay := harness.Start(t, harness.Options{HTTPPort: true})
	// The redirect keeps the host that the client asked, port included.
	target := strings.Replace(relay.HTTPURL(""), "http:", "https:", 1)
	redirect := func(path string) map[string]string {
		return map[string]string{"Location": target + path, "Content-Type": htmlText}
	}
	badRequest := map[string]string{"Content-Type": plainText, "X-Content-Type-Options": "nosniff"}
	for _, p := range []page{
		{"GET", "/generate_204", nil, 204, map[string]string{"Cache-Control": noCache}, ""},
		{"GET", "/generate_204", map[string]string{"X-Tailscale-Challenge": "abc"}, 204, map[string]string{"X-Tailscale-Response": "response abc"}, ""},
		{"GET", "/foo?x=1", nil, 302, redirect("/foo?x=1"), fmt.Sprintf("<a href=\"%s/foo?x=1\">Found</a>.\n\n", target)},
		{"HEAD", "/foo", nil, 302, redirect("/foo"), ""},
		{"GET", "/derp", nil, 302, redirect("/derp"), ""},
		{"GET", "/derp/probe", nil, 302, redirect("/derp/probe"), ""},
		{"GET", "/robots.txt", nil, 302, redirect("/robots.txt"), ""},
		{"POST", "/foo", nil, 400, badRequest, "Use HTTPS\n"},
		{"PUT", "/derp", nil, 400, badRequest, "Use HTTPS\n"},
		{"GET", "/debug/varz", map[string]string{"X-Forwarded-For": "127.0.0.1"}, 403, badRequest, "debug access denied\n"},
		{"GET", "/debug/varz", nil, 200, nil, ""},
	} {
		p.check(t, relay.ServerName, relay.HTTPURL(p.path))
	}
	// DERP itself is not there, whatever a client says.
	upgrade := page{"GET", "/derp", map[string]string{"Upgrade": "DERP", "Connection": "Upgrade"}, 302, redirect("/derp"), ""}
	upgrade.check(t, relay.ServerName, relay.HTTPURL("/derp"))
}

// What the home page shows can be chosen.
func TestHomeModes(t *testing.T) {
	t.Parallel()
	blank := harness.Start(t, harness.Options{Args: []string{"-home", "blank"}})
	page{"GET", "/", nil, 200, with(browserHeaders, "Content-Type", htmlText, "Content-Length", "0"), ""}.check(t, blank.ServerName, blank.URL("/"))
	redirected := harness.Start(t, harness.Options{Args: []string{"-home", "https://example.com/relay"}})
	page{"GET", "/any", nil, 302, with(browserHeaders, "Location", "https://example.com/relay"), ""}.check(t, redirected.ServerName, redirected.URL("/any"))
}

// A relay that serves only STUN and pages.
func TestWithoutDERP(t *testing.T) {
	t.Parallel()
	relay := harness.Start(t, harness.Options{Args: []string{"-derp=false"}})
	page{"GET", "/derp", map[string]string{"Upgrade": "DERP", "Connection": "Upgrade"}, 404, nil, "derp server disabled\n"}.check(t, relay.ServerName, relay.URL("/derp"))
	page{"GET", "/derp/probe", nil, 200, nil, ""}.check(t, relay.ServerName, relay.URL("/derp/probe"))
}

// One connection serves several pages, and then still becomes DERP.
func TestPagesThenUpgrade(t *testing.T) {
	t.Parallel()
	relay := harness.Start(t, harness.Options{})
	wire := relay.BareWire(t)
	for range 3 {
		for _, path := range []string{"/derp/probe", "/", "/generate_204", "/derp"} {
			wire.WriteString(t, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
			response := wire.ReadResponse(t)
			if _, err := io.Copy(io.Discard, response.Body); err != nil {
				t.Fatal(err)
			}
			if response.Close {
				t.Fatalf("%s: the connection is not kept", path)
			}
		}
	}
	wire.WriteString(t, harness.UpgradeRequest(relay))
	if response := wire.ReadResponse(t); response.StatusCode != 101 {
		t.Fatalf("upgrade: %s", response.Status)
	}
	wire.ReadServerKey(t)
	wire.Login(t, `{"version":2}`)
	wire.WantAlive(t)
}

// Requests that are none.
func TestBadRequests(t *testing.T) {
	t.Parallel()
	relay := harness.Start(t, harness.Options{})
	for _, request := range []string{
		"GARBAGE\r\n\r\n",
		"GET / HTTP/1.1\r\n\r\n", // without Host
		"GET / HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: x\r\n: empty\r\n\r\n",
		"GET / SPDY/3\r\nHost: x\r\n\r\n",
	} {
		wire := relay.BareWire(t)
		wire.WriteString(t, request)
		if response := wire.ReadResponse(t); response.StatusCode != 400 && response.StatusCode != 505 {
			t.Errorf("%q: %s", request, response.Status)
		}
		wire.WantClosed(t, harness.ReplyTimeout)
	}
	// A head without end is cut off, not collected.
	wire := relay.BareWire(t)
	wire.WriteString(t, "GET / HTTP/1.1\r\nHost: x\r\n")
	line := "X-Filler: " + strings.Repeat("x", 4000) + "\r\n"
	for sent := 0; sent < 4<<20; sent += len(line) {
		if _, err := wire.Write([]byte(line)); err != nil {
			break
		}
	}
	wire.SetReadDeadline(time.Now().Add(harness.ReplyTimeout))
	if _, err := io.Copy(io.Discard, wire.Reader); harness.IsTimeout(err) {
		t.Error("a head of 4 MiB did not end the connection")
	}
	relay.Connect(t, "client", harness.ClientOptions{}).WantAlive(t)
}

func (p page) check(t *testing.T, serverName, url string) {
	t.Helper()
	request, err := http.NewRequest(p.method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range p.headers {
		request.Header.Set(name, value)
	}
	client := &http.Client{
		Timeout:       harness.ReplyTimeout,
		Transport:     &http.Transport{TLSClientConfig: harness.ClientTLS(serverName), DisableKeepAlives: false, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	defer client.CloseIdleConnections()
	response, err := client.Do(request)
	if err != nil {
		t.Errorf("%s %s: %v", p.method, url, err)
		return
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Errorf("%s %s: %v", p.method, url, err)
	}
	if response.StatusCode != p.status {
		t.Errorf("%s %s: %s, want %d", p.method, url, response.Status, p.status)
	}
	for name, want := range p.want {
		if got := response.Header.Get(name); got != want {
			t.Errorf("%s %s: %s is %q, want %q", p.method, url, name, got, want)
		}
	}
	if p.body != "" && string(body) != p.body {
		t.Errorf("%s %s: body %q, want %q", p.method, url, body, p.body)
	}
	if p.method == "HEAD" && len(body) > 0 {
		t.Errorf("%s %s: body %q", p.method, url, body)
	}
	if response.Header.Get("Date") == "" {
		t.Errorf("%s %s: no Date", p.method, url)
	}
}
