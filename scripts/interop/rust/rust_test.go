// Package rust lets Tailscale's Rust client, the crate ts_derp, talk through the relay: to itself, and
// with its Go client. What it does is in ../ts-derp.
package rust

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"tailscale.com/types/key"

	"towline.test/interop/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

func TestRustClient(t *testing.T) {
	relay := harness.Start(t, harness.Options{})
	var problems bytes.Buffer
	command := exec.CommandContext(t.Context(), harness.Program(t, "TS_DERP_PEER"))
	command.Env = append(os.Environ(), "RELAY_ADDR="+relay.Addr())
	command.Stderr = &problems
	input, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	// It is done with itself when it offers the echo.
	line, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		command.Wait()
		t.Fatalf("the Rust client failed: %v\n%s", err, problems.String())
	}
	var echo key.NodePublic
	if err := echo.UnmarshalText([]byte(strings.TrimSpace(strings.TrimPrefix(line, "echo ")))); err != nil {
		t.Fatalf("%q: %v", line, err)
	}

	talk := func() {
		t.Helper()
		client := relay.Connect(t, "Go client", harness.ClientOptions{})
		for _, size := range []int{1, 0, 1400, 20000, harness.MaxPacketBytes - 32} {
			packet := bytes.Repeat([]byte{byte(size)}, size)
			client.SendTo(t, echo, packet)
			client.WantPacket(t, echo, packet)
		}
		client.Close() // the Rust client is told, and goes on
	}
	talk()
	talk()
	if !testing.Short() {
		time.Sleep(66 * time.Second) // a keepalive comes
		talk()
	}
	input.Close()
	if err := command.Wait(); err != nil {
		t.Errorf("the Rust client: %v\n%s", err, problems.String())
	}
}
