// The certificate authority of a test run. Every relay gets a certificate from it, and every client
// of the run, the relays' own mesh clients included, trusts it through SSL_CERT_FILE.

package harness

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// DNSName is the host name that the certificates are for, besides the loopback addresses.
const DNSName = "relay.interop.test"

// authority is made once per test process, by Main.
var authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	file        string // PEM, for SSL_CERT_FILE
	pool        *x509.CertPool
}

// Main is the TestMain of every package here: it makes the authority before the first use of the
// system's trust store, which reads SSL_CERT_FILE only once.
func Main(m *testing.M) {
	dir, err := os.MkdirTemp("", "interop-ca-")
	if err != nil {
		panic(err)
	}
	makeAuthority(dir)
	os.Setenv("SSL_CERT_FILE", authority.file)
	os.Setenv("SSL_CERT_DIR", dir)
	status := m.Run()
	os.RemoveAll(dir)
	os.Exit(status)
}

// AuthorityFile is the PEM file of the authority's certificate.
func AuthorityFile() string { return authority.file }

// ClientTLS returns a client configuration that trusts the run's relays.
func ClientTLS(serverName string) *tls.Config {
	return &tls.Config{RootCAs: authority.pool, ServerName: serverName}
}

func makeAuthority(dir string) {
	key := newKey()
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "interop test authority"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().AddDate(0, 3, 0),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	authority.certificate, err = x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	authority.key = key
	authority.pool = x509.NewCertPool()
	authority.pool.AddCert(authority.certificate)
	authority.file = filepath.Join(dir, "ca.pem")
	writePEM(authority.file, "CERTIFICATE", der)
}

// WriteCertificate puts HOSTNAME.crt and HOSTNAME.key into dir, where derper's manual mode looks for them.
// The certificate outlives the 14 days below which derpprobe complains.
func WriteCertificate(dir, hostname string) {
	key := newKey()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: DNSName},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().AddDate(0, 2, 0),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     []string{DNSName, "localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, authority.certificate, &key.PublicKey, authority.key)
	if err != nil {
		panic(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err)
	}
	writePEM(filepath.Join(dir, hostname+".crt"), "CERTIFICATE", der)
	writePEM(filepath.Join(dir, hostname+".key"), "PRIVATE KEY", keyDER)
}

func newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
}

func writePEM(file, kind string, der []byte) {
	text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	if err := os.WriteFile(file, text, 0o600); err != nil {
		panic(fmt.Sprintf("writing %s: %v", file, err))
	}
}
