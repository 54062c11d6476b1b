// What the relay costs while a fault lasts: CPU time of its process, from /proc.

package faults

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"towline.test/interop/harness"
)

// cpuTime is what the relay's process has used so far, from /proc/PID/stat, whose ticks are 10 ms.
func cpuTime(t *testing.T, relay *harness.Relay) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", relay.Pid))
	if err != nil {
		t.Fatal(err)
	}
	// The name in parentheses may hold spaces; utime and stime are the 12th and 13th field after it.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	var ticks int
	for _, field := range fields[11:13] {
		n, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
