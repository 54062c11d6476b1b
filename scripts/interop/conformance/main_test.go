// Package conformance holds what every DERP relay must do, as seen by real clients and on the wire.
// Each test starts its own relays and runs unchanged against derper and ours.
package conformance

import (
	"testing"

	"towline.test/interop/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
