package store

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
)

// signatureSize is that of a signature as it is stored: the public key that it is by, and
// what ed25519 makes of what is signed.
const signatureSize = ed25519.PublicKeySize + ed25519.SignatureSize

// signed binds content to its place, archive and timeline and name: moved to another it is
// not what was signed.
func signed(place string, content []byte) []byte {
	return append([]byte("kubectl-etcd signature 1\n"+place+"\n"), content...)
}

// sign is the writer's signature; without a key there is none.
func (a *Archive) sign(place string, content []byte) []byte {
	key := a.keys.Signer
	if key == nil {
		return nil
	}
	return append(bytes.Clone(publicHalf(key)), ed25519.Sign(key, signed(place, content))...)
}

// signEnvelope signs a segment in its place. ed25519 gives the same signature each time.
func (a *Archive) signEnvelope(place string, e *segment.Envelope) {
	if a.keys.Signer == nil {
		return
	}
	e.Signature = make([]byte, signatureSize) // its length is among what is signed
	e.Signature = a.sign(place, e.Signed())
}

// vouch refuses with ErrOrigin what no trusted writer signed for this place. Where nobody is
// trusted in particular, nobody is asked.
func (a *Archive) vouch(place string, content, signature []byte) error {
	if !a.asks() {
		return nil
	}
	if why := a.distrust(place, content, signature); why != "" {
		return fmt.Errorf("read %s: %w: %s", place, ErrOrigin, why)
	}
	return nil
}

func (a *Archive) distrust(place string, content, signature []byte) string {
	switch {
	case len(signature) == 0:
		return "it is not signed"
	case len(signature) != signatureSize:
		return fmt.Sprintf("a signature of %d bytes is none", len(signature))
	}
	key, made := ed25519.PublicKey(signature[:ed25519.PublicKeySize]), signature[ed25519.PublicKeySize:]
	switch {
	case !slices.ContainsFunc(a.keys.Trusted, func(t ed25519.PublicKey) bool { return t.Equal(key) }):
		return "it names the key " + WriterFingerprint(key)
	case !ed25519.Verify(key, signed(place, content), made):
		return "its signature is of something else, or of another place"
	}
	return ""
}

// asks tells whether only trusted writers' objects are read.
func (a *Archive) asks() bool { return len(a.keys.Trusted) > 0 }

// VouchNames refuses with ErrOrigin a revision that was found by names, as that of a moment,
// where one of those that tell of it is of no trusted writer's object.
func (a *Archive) VouchNames(ctx context.Context, c *Contents, revision segment.Revision) error {
	if !a.asks() {
		return nil
	}
	for _, b := range c.Bases {
		if b.Revision == revision && b.Refused != nil {
			return b.Refused
		}
	}
	for _, s := range c.Segments {
		if s.First > revision+1 || s.Last < revision {
			continue
		}
		if _, err := a.Envelope(ctx, c.Timeline.ID, s); errors.Is(err, ErrOrigin) {
			return err
		}
	}
	return nil
}

// Origin tells whether it is known who wrote what was read out of an archive.
type Origin struct {
	Proven bool `json:"proven"`
	// Writers are the fingerprints of the trusted keys: each object is signed by one of them.
	Writers []string `json:"writers,omitempty"`
}

// Origin is that of all that the archive gives.
func (a *Archive) Origin() Origin {
	o := Origin{Proven: a.asks()}
	for _, key := range a.keys.Trusted {
		o.Writers = append(o.Writers, WriterFingerprint(key))
	}
	return o
}

// WriterFingerprint is "SHA256:…", as ssh-keygen -l prints it.
func WriterFingerprint(key ed25519.PublicKey) string { return ssh.FingerprintSHA256(sshPublic(key)) }

// WriterText is the public key as ParseWriters reads it: "ssh-ed25519 AAAA…".
func WriterText(key ed25519.PublicKey) string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(sshPublic(key))))
}

func sshPublic(key ed25519.PublicKey) ssh.PublicKey {
	public, err := ssh.NewPublicKey(key)
	if err != nil {
		panic("store: internal error: an ed25519 key of " + err.Error())
	}
	return public
}

func publicHalf(key ed25519.PrivateKey) ed25519.PublicKey {
	return key.Public().(ed25519.PublicKey)
}

// ParseWriters reads the public keys of writers: ssh-ed25519 …, or the path of a file that
// holds some, a line each. Errors are ErrKeys.
func ParseWriters(texts []string) (list []ed25519.PublicKey, err error) {
	for _, text := range texts {
		more, err := parseWriter(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("%w: trusted writer %q: %w", ErrKeys, text, err)
		}
		list = append(list, more...)
	}
	return list, nil
}

func parseWriter(text string) ([]ed25519.PublicKey, error) {
	if strings.HasPrefix(text, "ssh-") {
		return parseLines(text, parseWriterKey)
	}
	content, err := os.ReadFile(text)
	if err != nil {
		return nil, fmt.Errorf("it is neither ssh-ed25519 … nor a file of such: %w", err)
	}
	return parseLines(string(content), parseWriterKey)
}

func parseWriterKey(line string) (ed25519.PublicKey, error) {
	if strings.Contains(line, "PRIVATE KEY") {
		return nil, errors.New("there is a secret key: to trust a writer takes the public one, ssh-ed25519 …")
	}
	public, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		return nil, err
	}
	if crypto, ok := public.(ssh.CryptoPublicKey); ok {
		if key, ok := crypto.CryptoPublicKey().(ed25519.PublicKey); ok {
			return key, nil
		}
	}
	return nil, fmt.Errorf("a key of the type %s: a writer's is ssh-ed25519", public.Type())
}

// ReadSigner reads a writer's key: ed25519, as ssh-keygen makes it, or in PKCS #8, without a
// passphrase, as nobody is there to type it. Errors are ErrKeys.
func ReadSigner(path string) (ed25519.PrivateKey, error) {
	key, err := readSigner(path)
	if err != nil {
		return nil, fmt.Errorf("%w: writer's key %s: %w", ErrKeys, path, err)
	}
	return key, nil
}

func readSigner(path string) (ed25519.PrivateKey, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	raw, err := ssh.ParseRawPrivateKey(content)
	if err != nil {
		return nil, err
	}
	switch key := raw.(type) {
	case *ed25519.PrivateKey: // OpenSSH's
		return *key, nil
	case ed25519.PrivateKey: // PKCS #8
		return key, nil
	}
	return nil, errors.New("it is no ed25519 key")
}
