package relay

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// Pin is the SHA-256 of a public key as certificates carry it (its SubjectPublicKeyInfo,
// RFC 7469 section 2.4).
type Pin [sha256.Size]byte

// pinPrefix is that of curl's --pinnedpubkey, with one slash.
const pinPrefix = "sha256/"

func (p Pin) String() string { return pinPrefix + base64.StdEncoding.EncodeToString(p[:]) }

// ParsePin reads what String writes.
func ParsePin(text string) (Pin, error) {
	encoded, ok := strings.CutPrefix(text, pinPrefix)
	sum, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if !ok || err != nil || len(sum) != sha256.Size {
		return Pin{}, fmt.Errorf("%q is no pin of the form %s<base64>", text, pinPrefix)
	}
	return Pin(sum), nil
}

// Key is a key pair that lives in memory, as long as one run.
type Key struct {
	certificate tls.Certificate
	pin         Pin
}

// NewKey makes a key pair, with the certificate that TLS wants around it. Nobody looks at
// what that says: only the key counts.
func NewKey() (*Key, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Unix(0, 0),
		NotAfter:     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), // RFC 5280: no expiry; clocks differ
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return nil, fmt.Errorf("certify key: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("certify key: %w", err)
	}
	return &Key{
		certificate: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private, Leaf: leaf},
		pin:         pinOf(leaf),
	}, nil
}

// Pin is the key's own.
func (k *Key) Pin() Pin { return k.pin }

func pinOf(c *x509.Certificate) Pin { return sha256.Sum256(c.RawSubjectPublicKeyInfo) }

// errPin is what a handshake with anybody else ends with.
var errPin = errors.New("its key is another one")

// config is what both ends have in common: TLS 1.3, and of the other end its key.
func (k *Key) config(peer Pin) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{k.certificate},
		NextProtos:             []string{protocol},
		SessionTicketsDisabled: true, // each connection shows its key
		InsecureSkipVerify:     true, // replaced by the pin: there is no authority and no name
		ClientAuth:             tls.RequireAnyClientCert,
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 || pinOf(state.PeerCertificates[0]) != peer {
				return errPin
			}
			if state.NegotiatedProtocol != protocol { // a peer may name none at all
				return fmt.Errorf("it speaks %q instead of %s", state.NegotiatedProtocol, protocol)
			}
			return nil
		},
	}
}
