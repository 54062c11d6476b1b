// Package probe runs Tailscale's derpprobe, the program with which it watches its own relays, over a
// region of two meshed relays.
package probe

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tailscale.com/tailcfg"

	"towline.test/interop/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// hostName of both relays: derpprobe resolves it, and wants a name rather than an address.
const hostName = "localhost"

// What derpprobe must have tried, for nodes called 1a and 1b.
var probes = []string{
	"derpmap-probe",
	"derp/lab/1a/tls", "derp/lab/1b/tls",
	"derp/lab/1a/udp", "derp/lab/1b/udp",
	"derp/lab/1a/1a/mesh", "derp/lab/1a/1b/mesh", "derp/lab/1b/1a/mesh", "derp/lab/1b/1b/mesh",
	"derp/lab/1a/1a/bw", "derp/lab/1a/1b/bw", "derp/lab/1b/1a/bw", "derp/lab/1b/1b/bw",
}

// The region of the relay under test with itself, and of one of each kind. Every pair is probed in
// both directions; derper with derper is the control.
func TestDerpprobe(t *testing.T) {
	underTest := harness.UnderTest(t)
	regions := map[string][2]harness.Kind{"same": {underTest, underTest}}
	if underTest != harness.Derper {
		regions["with derper second"] = [2]harness.Kind{underTest, harness.Derper}
		regions["with derper first"] = [2]harness.Kind{harness.Derper, underTest}
	}
	for name, kinds := range regions {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			options := [2]harness.Options{}
			for i, kind := range kinds {
				options[i] = harness.Options{Kind: kind, Hostname: hostName, STUN: true, Mesh: true}
			}
			a := harness.Start(t, options[0])
			options[1].MeshWith = []*harness.Relay{a}
			b := harness.Start(t, options[1])
			a.Kill()
			options[0].MeshWith, options[0].Like = []*harness.Relay{b}, a
			a = harness.Start(t, options[0])
			a.WaitMetric(t, "derp_watchers", 1)
			b.WaitMetric(t, "derp_watchers", 1)
			for _, line := range derpprobe(t, a, b) {
				t.Log(line)
			}
		})
	}
}

// derpprobe runs it once and returns its verdicts; a bad one, or a missing one, fails the test.
func derpprobe(t *testing.T, a, b *harness.Relay) []string {
	t.Helper()
	dir := t.TempDir()
	mapFile, pskFile := filepath.Join(dir, "map.json"), filepath.Join(dir, "mesh.key")
	region := tailcfg.DERPRegion{RegionID: 900, RegionCode: "lab", RegionName: "Lab", Nodes: []*tailcfg.DERPNode{node("1a", a), node("1b", b)}}
	text, err := json.Marshal(tailcfg.DERPMap{Regions: map[int]*tailcfg.DERPRegion{900: &region}})
	if err != nil {
		t.Fatal(err)
	}
	for file, content := range map[string]string{mapFile: string(text), pskFile: harness.MeshKey} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	command := exec.CommandContext(ctx, harness.Program(t, "DERPPROBE"),
		"-once", "-spread=false", "-derp-map", "file://"+mapFile, "-mesh-psk-file", pskFile,
		"-bw-interval", "5s", "-bw-probe-size-bytes", "20000000")
	command.Env = append(os.Environ(), "SSL_CERT_FILE="+harness.AuthorityFile(), "HOME="+dir)
	output, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("derpprobe: %v\n%s", err, output)
	}
	var verdicts []string
	for _, line := range strings.Split(string(output), "\n") {
		if _, verdict, found := strings.Cut(line, "good: "); found {
			verdicts = append(verdicts, verdict)
		} else if strings.Contains(line, "bad: ") {
			t.Errorf("derpprobe: %s", line)
		}
	}
	for _, probe := range probes {
		if !strings.Contains(strings.Join(verdicts, "\n")+"\n", probe+": ") {
			t.Errorf("derpprobe has no verdict on %s:\n%s", probe, output)
		}
	}
	return verdicts
}

func node(name string, relay *harness.Relay) *tailcfg.DERPNode {
	return &tailcfg.DERPNode{
		Name: name, RegionID: 900, HostName: hostName, IPv4: relay.Host, DERPPort: relay.Port, STUNPort: relay.STUNPort,
	}
}
