//go:build !coder

// STUN: the address that the relay sees, for Tailscale's clients and, on ours, for everybody's.

package conformance

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"net"
	"net/netip"
	"testing"
	"time"

	"tailscale.com/net/stun"

	"towline.test/interop/harness"
)

func TestSTUN(t *testing.T) {
	t.Parallel()
	for _, ipv6 := range []bool{false, true} {
		t.Run(fmt.Sprintf("ipv6=%v", ipv6), func(t *testing.T) {
			t.Parallel()
			relay := harness.Start(t, harness.Options{STUN: true, IPv6: ipv6})
			conn := dialSTUN(t, relay)
			for range 5 {
				txID := stun.NewTxID()
				answer := exchange(t, conn, stun.Request(txID), true)
				gotID, addr, err := stun.ParseResponse(answer)
				if err != nil {
					t.Fatal(err)
				}
				if want := netip.MustParseAddrPort(conn.LocalAddr().String()); gotID != txID || addr != want {
					t.Errorf("answer for %v with address %v, want %v with %v", gotID, addr, txID, want)
				}
			}
			family := "ipv4"
			if ipv6 {
				family = "ipv6"
			}
			relay.WaitMetrics(t, map[string]float64{
				`stun_requests{disposition="success"}`:     5,
				`stun_addrfamily{family="` + family + `"}`: 5,
			})
		})
	}
}

// Requests of other software carry neither SOFTWARE nor FINGERPRINT, or only one of them. The one
// accepted difference between the relays: ours answers them, as the RFC wants it, derper only its own.
func TestForeignSTUN(t *testing.T) {
	t.Parallel()
	relay := harness.Start(t, harness.Options{STUN: true})
	conn := dialSTUN(t, relay)
	answered := relay.Kind == harness.Towline
	for name, request := range map[string][]byte{
		"bare":                    bindingRequest(),
		"other software":          bindingRequest(attribute(0x8022, []byte("other 1.0\x00\x00\x00")[:9])),
		"fingerprint only":        fingerprinted(bindingRequest()),
		"unknown optional":        bindingRequest(attribute(0x8888, []byte("1234"))),
		"software, fingerprinted": fingerprinted(bindingRequest(attribute(0x8022, []byte("other")))),
	} {
		answer := exchange(t, conn, request, answered)
		if !answered {
			continue
		}
		_, addr, err := stun.ParseResponse(answer)
		if err != nil || addr != netip.MustParseAddrPort(conn.LocalAddr().String()) {
			t.Errorf("%s: answer %v, %v", name, addr, err)
		}
		if !bytes.Equal(answer[8:20], request[8:20]) {
			t.Errorf("%s: answer to another transaction", name)
		}
	}
}

// What is no request gets no answer, so that nobody is hit with answers to forged ones.
func TestNoSTUN(t *testing.T) {
	t.Parallel()
	relay := harness.Start(t, harness.Options{STUN: true})
	conn := dialSTUN(t, relay)
	good := stun.Request(stun.NewTxID())
	wrongFingerprint := bytes.Clone(good)
	wrongFingerprint[len(wrongFingerprint)-1] ^= 1
	wrongCookie := bytes.Clone(bindingRequest())
	wrongCookie[4] ^= 1
	wrongLength := bytes.Clone(bindingRequest())
	wrongLength[3] = 40
	answer := stun.Response(stun.NewTxID(), netip.MustParseAddrPort("192.0.2.1:1"))
	dropped := [][]byte{{}, []byte("hello"), good[:19], wrongFingerprint, wrongCookie, wrongLength, answer, bytes.Repeat([]byte{0}, 1000)}
	for _, packet := range dropped {
		exchange(t, conn, packet, false)
	}
	relay.WaitMetric(t, `stun_requests{disposition="not_stun"}`, float64(len(dropped)))
	exchange(t, conn, good, true)
}

func dialSTUN(t *testing.T, relay *harness.Relay) net.Conn {
	t.Helper()
	conn, err := net.Dial("udp", net.JoinHostPort(relay.Host, fmt.Sprint(relay.STUNPort)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// exchange sends a packet and expects an answer, or none.
func exchange(t *testing.T, conn net.Conn, packet []byte, answered bool) []byte {
	t.Helper()
	if _, err := conn.Write(packet); err != nil {
		t.Fatal(err)
	}
	wait := 100 * time.Millisecond
	if answered {
		wait = harness.ReplyTimeout
	}
	conn.SetReadDeadline(time.Now().Add(wait))
	buffer := make([]byte, 2048)
	n, err := conn.Read(buffer)
	if answered && err != nil {
		t.Fatalf("no answer to %x: %v", packet, err)
	}
	if !answered && err == nil {
		t.Fatalf("answer %x to %x", buffer[:n], packet)
	}
	return buffer[:n]
}

func bindingRequest(attributes ...[]byte) []byte {
	body := bytes.Join(attributes, nil)
	request := binary.BigEndian.AppendUint16([]byte{0, 1}, uint16(len(body)))
	request = binary.BigEndian.AppendUint32(request, 0x2112A442)
	txID := stun.NewTxID()
	return append(append(request, txID[:]...), body...)
}

func attribute(kind uint16, value []byte) []byte {
	encoded := binary.BigEndian.AppendUint16(nil, kind)
	encoded = binary.BigEndian.AppendUint16(encoded, uint16(len(value)))
	encoded = append(encoded, value...)
	return append(encoded, make([]byte, (4-len(value)%4)%4)...)
}

// fingerprinted appends FINGERPRINT: a CRC over all before it, with the length that includes it.
func fingerprinted(request []byte) []byte {
	binary.BigEndian.PutUint16(request[2:], uint16(len(request)-20+8))
	sum := crc32.ChecksumIEEE(request) ^ 0x5354554e
	return append(request, attribute(0x8028, binary.BigEndian.AppendUint32(nil, sum))...)
}
