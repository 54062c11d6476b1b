// A relay as a process: its command line, its ports, its start and its end.

package harness

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tailscale.com/types/key"
)

// MeshKey is the pre-shared key that the tests use.
const MeshKey = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// startTimeout is how long a relay may take until it accepts connections.
const startTimeout = 15 * time.Second

// Options of a relay. The zero value is a TLS relay on 127.0.0.1 that admits everyone.
type Options struct {
	Kind      Kind     // "" = the kind under test
	Plain     bool     // plain HTTP, as behind a TLS proxy
	Hostname  string   // of the certificate; "" = 127.0.0.1, for which any SNI is fine
	IPv6      bool     // listen on ::1 instead of 127.0.0.1
	HTTPPort  bool     // also the plain HTTP port for redirects and captive portal checks
	STUN      bool     // also STUN
	Mesh      bool     // knows MeshKey
	MeshWith  []*Relay // meshes with these
	Args      []string // further flags
	Env       []string // further environment
	OpenFiles int      // limit of file descriptors, hard and soft; 0 = ours
	Like      *Relay   // takes ports and key of this stopped relay: a restart
}

// Relay is a running relay.
type Relay struct {
	Kind       Kind
	Plain      bool
	Host       string // IP address
	ServerName string // what clients ask TLS for
	Port       int
	HTTPPort   int // 0 = none
	STUNPort   int // 0 = none
	Key        key.NodePrivate
	Pid        int

	process *exec.Cmd
	log     string
	exited  chan struct{}
	stopped bool
	mu      sync.Mutex
}

// Start starts a relay and returns once it accepts connections. It ends with the test, and a relay
// that ended by itself before fails the test.
func Start(t testing.TB, options Options) *Relay {
	t.Helper()
	dir := t.TempDir()
	relay := &Relay{Kind: options.Kind, Plain: options.Plain, Host: "127.0.0.1", Key: key.NewNode(), exited: make(chan struct{})}
	if relay.Kind == "" {
		relay.Kind = UnderTest(t)
	}
	if options.IPv6 {
		relay.Host = "::1"
	}
	relay.Port = freePort(t, relay.Host)
	if options.HTTPPort {
		relay.HTTPPort = freePort(t, relay.Host)
	}
	if options.STUN {
		relay.STUNPort = freePort(t, relay.Host)
	}
	if old := options.Like; old != nil {
		relay.Port, relay.HTTPPort, relay.STUNPort, relay.Key = old.Port, old.HTTPPort, old.STUNPort, old.Key
	}
	relay.ServerName = relay.Host
	if options.Hostname != "" {
		relay.ServerName = options.Hostname
	}

	command := append(relay.Kind.command(t), relay.flags(t, dir, options)...)
	if options.OpenFiles > 0 {
		limit := fmt.Sprintf(`ulimit -n %d && exec "$0" "$@"`, options.OpenFiles)
		command = append([]string{"/bin/sh", "-c", limit}, command...)
	}
	relay.run(t, dir, command, options.Env)
	t.Cleanup(func() {
		relay.endOfTest(t)
		if t.Failed() {
			relay.printLog(t)
		}
	})
	relay.awaitStart(t)
	return relay
}

// flags is derper's command line for the options.
func (r *Relay) flags(t testing.TB, dir string, options Options) []string {
	keyFile := filepath.Join(dir, "relay.key")
	text, err := json.Marshal(map[string]key.NodePrivate{"PrivateKey": r.Key})
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, keyFile, string(text))

	port := func(port int) string {
		if port == 0 {
			return "-1"
		}
		return fmt.Sprint(port)
	}
	flags := []string{"-a", r.Addr(), "-c", keyFile, "-http-port", port(r.HTTPPort)}
	if r.STUNPort != 0 {
		flags = append(flags, "-stun-port", fmt.Sprint(r.STUNPort))
	} else {
		flags = append(flags, "-stun=false")
	}
	if !options.Plain {
		hostname := options.Hostname
		if hostname == "" {
			hostname = "127.0.0.1"
		}
		WriteCertificate(dir, hostname)
		flags = append(flags, "-certmode", "manual", "-certdir", dir, "-hostname", hostname)
	}
	if options.Mesh || len(options.MeshWith) > 0 {
		pskFile := filepath.Join(dir, "mesh.key")
		writeFile(t, pskFile, MeshKey+"\n")
		flags = append(flags, "-mesh-psk-file", pskFile)
	}
	if len(options.MeshWith) > 0 {
		var hosts []string
		for _, peer := range options.MeshWith {
			hosts = append(hosts, peer.meshName())
		}
		flags = append(flags, "-mesh-with", strings.Join(hosts, ","))
	}
	return append(flags, options.Args...)
}

func (r *Relay) run(t testing.TB, dir string, command, env []string) {
	t.Helper()
	r.log = filepath.Join(dir, "relay.log")
	log, err := os.Create(r.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	r.process = exec.Command(command[0], command[1:]...)
	r.process.Dir = dir
	r.process.Stdout, r.process.Stderr = log, log
	// Nothing of the user's own configuration reaches the relay, and nothing of it is left behind; only
	// settings of ours that the run itself varies, such as the io driver, pass.
	r.process.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "RUNTIME_DIRECTORY=" + dir, "TMPDIR=" + dir,
		"SSL_CERT_FILE=" + authority.file, "SSL_CERT_DIR=" + filepath.Dir(authority.file),
	}, env...)
	for _, setting := range os.Environ() {
		if strings.HasPrefix(setting, "TOWLINE_RELAY_") {
			r.process.Env = append(r.process.Env, setting)
		}
	}
	started := make(chan error)
	go func() {
		// The relay dies with the thread that started it, that is with the test process, even when
		// that is killed; the thread must not end earlier.
		runtime.LockOSThread()
		r.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		err := r.process.Start()
		started <- err
		if err == nil {
			r.process.Wait()
			close(r.exited)
		}
	}()
	if err := <-started; err != nil {
		t.Fatalf("starting %v: %v", command, err)
	}
	r.Pid = r.process.Process.Pid
}

func (r *Relay) awaitStart(t testing.TB) {
	t.Helper()
	deadline := time.Now().Add(startTimeout)
	for !r.listens() {
		select {
		case <-r.exited:
			t.Fatalf("%s ended at its start: %v (its log follows)", r.Kind, r.process.ProcessState)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not accept connections on %s after %v", r.Kind, r.Addr(), startTimeout)
		}
	}
}

// listens says whether all ports of the relay are open, and its own: a process that another test is starting holds a
// copy of a port that freePort tried, until it has become its program, and connections to that come to nothing.
func (r *Relay) listens() bool {
	const tcpListening, udpUnconnected = "0A", "07"
	return r.owns("tcp", r.Port, tcpListening) && r.owns("tcp", r.HTTPPort, tcpListening) &&
		r.owns("udp", r.STUNPort, udpUnconnected)
}

// owns says whether the relay has a socket on the port, by the kernel's tables. Port 0 is one that it does not have.
func (r *Relay) owns(protocol string, port int, state string) bool {
	if port == 0 {
		return true
	}
	own := map[string]bool{}
	descriptors := fmt.Sprintf("/proc/%d/fd", r.Pid)
	entries, _ := os.ReadDir(descriptors)
	for _, entry := range entries {
		if target, err := os.Readlink(filepath.Join(descriptors, entry.Name())); err == nil {
			own[target] = true
		}
	}
	for _, table := range []string{protocol, protocol + "6"} {
		text, _ := os.ReadFile("/proc/net/" + table)
		for line := range strings.Lines(string(text)) {
			// sl, local address, remote address, state, queues, timer, retransmissions, user, timeout, inode
			fields := strings.Fields(line)
			if len(fields) > 9 && strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", port)) && fields[3] == state &&
				own["socket:["+fields[9]+"]"] {
				return true
			}
		}
	}
	return false
}

// Addr is the address of the relay's main port.
func (r *Relay) Addr() string { return net.JoinHostPort(r.Host, fmt.Sprint(r.Port)) }

// meshName is the relay's entry in another one's mesh list: where it is, and under what name if that differs.
func (r *Relay) meshName() string {
	if r.ServerName == r.Host {
		return r.Addr()
	}
	return fmt.Sprintf("%s:%d/%s", r.ServerName, r.Port, r.Host)
}

// URL is the address of a page on the main port.
func (r *Relay) URL(path string) string {
	if r.Plain {
		return "http://" + r.Addr() + path
	}
	return "https://" + r.Addr() + path
}

// HTTPURL is the address of a page on the plain HTTP port.
func (r *Relay) HTTPURL(path string) string {
	return "http://" + net.JoinHostPort(r.Host, fmt.Sprint(r.HTTPPort)) + path
}

// Signal sends the relay a signal.
func (r *Relay) Signal(t testing.TB, signal syscall.Signal) {
	t.Helper()
	if err := r.process.Process.Signal(signal); err != nil {
		t.Fatalf("sending %v to %s: %v", signal, r.Kind, err)
	}
}

// Kill ends the relay without any notice to its clients, as a power cut would.
func (r *Relay) Kill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = true
	r.process.Process.Kill()
	<-r.exited
}

// WantEnd expects that the relay ends by itself.
func (r *Relay) WantEnd(t testing.TB) {
	t.Helper()
	select {
	case <-r.exited:
		r.mu.Lock()
		r.stopped = true
		r.mu.Unlock()
	case <-time.After(ReplyTimeout):
		t.Fatalf("%s is still there", r.Kind)
	}
}

func (r *Relay) endOfTest(t testing.TB) {
	select {
	case <-r.exited:
		r.mu.Lock()
		defer r.mu.Unlock()
		if !r.stopped {
			t.Errorf("%s ended during the test: %v", r.Kind, r.process.ProcessState)
		}
	default:
		if t.Failed() {
			r.printDrops(t)
		}
		r.Kill()
	}
}

// printDrops prints the counters of dropped packets that are not zero.
func (r *Relay) printDrops(t testing.TB) {
	metrics, err := r.readMetrics()
	if err != nil {
		t.Logf("no metrics of %s: %v", r.Kind, err)
		return
	}
	for name, value := range metrics {
		if strings.Contains(name, "drop") && value != 0 {
			t.Logf("%s on %s: %s %v", r.Kind, r.Addr(), name, value)
		}
	}
}

func (r *Relay) printLog(t testing.TB) {
	const lastBytes = 8 << 10
	text, err := os.ReadFile(r.log)
	if err != nil {
		t.Logf("no log of %s: %v", r.Kind, err)
		return
	}
	if len(text) > lastBytes {
		text = text[len(text)-lastBytes:]
	}
	t.Logf("log of %s on %s:\n%s", r.Kind, r.Addr(), text)
}

// Log returns what the relay has printed so far.
func (r *Relay) Log(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(r.log)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var portsTaken sync.Map

// portRange is the first of the thousand ports that this process may give its tests. An abstract socket, which
// ends with the process, keeps the other packages' tests off: to see whether a port is free they would listen on it for
// a moment, and that looks like a relay that has started.
var portRange = sync.OnceValues(func() (int, error) {
	var err error
	for first := 12000; first < 32000; first += 1000 {
		if portLock, err = net.Listen("unix", fmt.Sprintf("@towline-interop-ports-%d", first)); err == nil {
			return first, nil
		}
	}
	return 0, err
})

// portLock is held until the process ends.
var portLock net.Listener

// freePort finds a port that is free for TCP and UDP. It lies below the range that the kernel takes
// the ports of outgoing connections from, so that no client of another test gets it meanwhile. No test gets
// one that another got: that one's relay may not listen yet.
func freePort(t testing.TB, host string) int {
	t.Helper()
	first, err := portRange()
	if err != nil {
		t.Fatalf("no ports for the tests: %v", err)
	}
	for range 1000 {
		port := first + rand.IntN(1000)
		if _, taken := portsTaken.LoadOrStore(port, true); taken {
			continue
		}
		addr := net.JoinHostPort(host, fmt.Sprint(port))
		listener, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		listener.Close()
		packets, err := net.ListenPacket("udp", addr)
		if err != nil {
			continue
		}
		packets.Close()
		return port
	}
	t.Fatalf("no free port on %s", host)
	return 0
}

func writeFile(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
