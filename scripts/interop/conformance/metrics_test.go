//go:build !coder

// Every metric of derper has its name here too, so that dashboards and alerts go on working.

package conformance

import (
	"regexp"
	"sort"
	"strings"
	"testing"

	"towline.test/interop/harness"
)

// Names that describe derper's own runtime, or that depend on what a relay has seen so far.
var notShared = regexp.MustCompile(`^(go_|memstats_|goroutines|version|counter_|gauge_|process_virtual|process_network|process_max)`)

func TestMetricNames(t *testing.T) {
	t.Parallel()
	options := harness.Options{STUN: true, HTTPPort: true, Mesh: true}
	derper := options
	derper.Kind = harness.Derper
	original, underTest := harness.Start(t, derper), harness.Start(t, options)
	for _, relay := range []*harness.Relay{original, underTest} {
		// A little of everything, for what shows only after its first event.
		client := relay.Connect(t, "client", harness.ClientOptions{})
		client.SendTo(t, client.Pub, []byte("x"))
		client.WantPacket(t, client.Pub, []byte("x"))
	}
	want, got := original.Metrics(t), underTest.Metrics(t)
	var missing []string
	for name := range want {
		if _, there := got[name]; !there && !notShared.MatchString(name) {
			missing = append(missing, name)
		}
	}
	sort.Strings(missing)
	if len(missing) > 0 {
		t.Errorf("%d of derper's %d metrics are missing:\n%s", len(missing), len(want), strings.Join(missing, "\n"))
	}
}
