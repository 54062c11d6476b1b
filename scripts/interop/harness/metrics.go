// The relay's metrics, as derper names them, read from /debug/varz; and what the kernel knows about
// the process: descriptors and memory.

package harness

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Metrics maps `name{label="value",…}`, labels sorted, to a value.
type Metrics map[string]float64

// Metrics reads all metrics.
func (r *Relay) Metrics(t testing.TB) Metrics {
	t.Helper()
	metrics, err := r.readMetrics()
	if err != nil {
		t.Fatal(err)
	}
	return metrics
}

// WaitMetric waits until a metric has this value.
func (r *Relay) WaitMetric(t testing.TB, name string, want float64) {
	t.Helper()
	r.WaitMetrics(t, map[string]float64{name: want})
}

// WaitMetrics waits until all these metrics have their values at once.
func (r *Relay) WaitMetrics(t testing.TB, want map[string]float64) {
	t.Helper()
	var last string
	ok := Poll(10*time.Second, func() bool {
		metrics, err := r.readMetrics()
		if err != nil {
			last = err.Error()
			return false
		}
		last = ""
		for name, value := range want {
			got, exists := metrics[name]
			if !exists {
				last += fmt.Sprintf(" %s is missing;", name)
			} else if got != value {
				last += fmt.Sprintf(" %s is %v, want %v;", name, got, value)
			}
		}
		return last == ""
	})
	if !ok {
		t.Fatalf("metrics of %s:%s", r.Kind, last)
	}
}

func (r *Relay) readMetrics() (Metrics, error) {
	transport := &http.Transport{TLSClientConfig: ClientTLS(r.ServerName), DisableKeepAlives: true}
	client := &http.Client{Timeout: 10 * time.Second, Transport: transport}
	response, err := client.Get(r.URL("/debug/varz"))
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("/debug/varz: %s", response.Status)
	}
	metrics := Metrics{}
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		line := lines.Text()
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		space := strings.LastIndexByte(line, ' ')
		if space < 0 {
			return nil, fmt.Errorf("/debug/varz: line without value: %q", line)
		}
		value, err := strconv.ParseFloat(line[space+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("/debug/varz: %q: %w", line, err)
		}
		metrics[sortLabels(line[:space])] = value
	}
	return metrics, lines.Err()
}

// sortLabels makes names comparable whatever the order of the labels. No label value here has a comma.
func sortLabels(name string) string {
	base, labels, found := strings.Cut(name, "{")
	if !found {
		return name
	}
	parts := strings.Split(strings.TrimSuffix(strings.TrimSuffix(labels, "}"), ","), ",")
	sort.Strings(parts)
	return base + "{" + strings.Join(parts, ",") + "}"
}

// Resources is what a process holds.
type Resources struct {
	Descriptors int
	MemoryBytes int // resident
}

// Resources reads what the relay holds now.
func (r *Relay) Resources(t testing.TB) Resources {
	t.Helper()
	proc := fmt.Sprintf("/proc/%d", r.Pid)
	descriptors, err := os.ReadDir(filepath.Join(proc, "fd"))
	if err != nil {
		t.Fatal(err)
	}
	statm, err := os.ReadFile(filepath.Join(proc, "statm"))
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(statm))[1])
	if err != nil {
		t.Fatal(err)
	}
	return Resources{Descriptors: len(descriptors), MemoryBytes: pages * os.Getpagesize()}
}

// Poll calls done until it is true or the time is over, and returns whether it was true.
func Poll(timeout time.Duration, done func() bool) bool {
	deadline := time.Now().Add(timeout)
	for {
		if done() {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(20 * time.Millisecond)
	}
}
