// Package harness starts relays as separate processes and connects clients to them: the base of
// every test in this module. It knows two kinds of relay, Tailscale's derper and ours, and speaks
// to both by the same command line; it holds no expectation about what they answer.
package harness

import (
	"os"
	"path/filepath"
	"testing"
)

// Kind says which program a relay is.
type Kind string

const (
	Derper  Kind = "derper"
	Towline Kind = "towline"
)

// UnderTest is the kind that this run is about: run.sh runs every test once for each.
func UnderTest(t testing.TB) Kind {
	switch kind := Kind(os.Getenv("RELAY_UNDER_TEST")); kind {
	case Derper, Towline:
		return kind
	default:
		t.Fatalf("RELAY_UNDER_TEST is %q; it must be derper or towline (scripts/interop/run.sh sets it)", kind)
		panic("unreachable")
	}
}

// Program returns the path of the program that the environment variable names; a test without its
// peer fails, it never passes silently.
func Program(t testing.TB, variable string) string {
	path := os.Getenv(variable)
	if path == "" {
		t.Fatalf("%s is not set; scripts/interop/run.sh sets it", variable)
	}
	if !filepath.IsAbs(path) {
		t.Fatalf("%s is %q; it must be an absolute path", variable, path)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return path
}

// command returns the start of the command line of a relay of this kind: what follows are derper's flags.
func (kind Kind) command(t testing.TB) []string {
	if kind == Derper {
		return []string{Program(t, "DERPER")}
	}
	command := []string{Program(t, "TOWLINE"), "relay"}
	if shards := os.Getenv("TOWLINE_SHARDS"); shards != "" {
		command = append(command, "--shards", shards)
	}
	return command
}
