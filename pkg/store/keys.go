package store

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"filippo.io/age/armor"
)

// Keys are what objects are encrypted to and opened with, and signed and trusted by. To
// encrypt a writer needs recipients only, which are public.
type Keys struct {
	Recipients []age.Recipient
	Identities []age.Identity
	// Signer signs bases and segments as they are put; nil: they are not signed.
	Signer ed25519.PrivateKey
	// Trusted are the writers whose bases and segments are read, and no others'; empty: all are.
	Trusted []ed25519.PublicKey
}

// Encrypts tells whether what is put is encrypted.
func (k Keys) Encrypts() bool { return len(k.Recipients) > 0 }

// seal encrypts to all recipients; without any, bytes go as they are. Close ends the
// encryption and leaves w open.
func (k Keys) seal(w io.Writer) (io.WriteCloser, error) {
	if !k.Encrypts() {
		return nopCloser{w}, nil
	}
	return age.Encrypt(w, k.Recipients...)
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// unseal opens what seal made; sealed is what the object's name tells.
func (k Keys) unseal(r io.Reader, sealed bool) (io.Reader, error) {
	if !sealed {
		return r, nil
	}
	if len(k.Identities) == 0 {
		return nil, fmt.Errorf("%w: none is given", ErrSealed)
	}
	plain, err := age.Decrypt(r, k.Identities...)
	var none *age.NoIdentityMatchError
	switch {
	case errors.As(err, &none):
		return nil, fmt.Errorf("%w: it is encrypted to others", ErrSealed)
	case err != nil:
		return nil, damaged("%w", err)
	}
	return plain, nil
}

// ParseRecipients reads public keys: age1…, ssh-ed25519 … or ssh-rsa …, or the path of a
// file that holds some, a line each. Errors are ErrKeys.
func ParseRecipients(texts []string) (list []age.Recipient, err error) {
	for _, text := range texts {
		more, err := parseRecipient(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("%w: recipient %q: %w", ErrKeys, text, err)
		}
		list = append(list, more...)
	}
	return list, nil
}

func parseRecipient(text string) ([]age.Recipient, error) {
	switch {
	case text == "":
		return nil, errors.New("it is empty")
	case strings.HasPrefix(text, "AGE-SECRET-KEY-"):
		return nil, errors.New("that is a secret key: a recipient is the public one, age1…")
	case strings.HasPrefix(text, "age1"), strings.HasPrefix(text, "ssh-"):
		one, err := parsePublicKey(text)
		if err != nil {
			return nil, err
		}
		return []age.Recipient{one}, nil
	}
	content, err := os.ReadFile(text)
	if err != nil {
		return nil, fmt.Errorf("it is neither age1…, ssh-ed25519 … or ssh-rsa … nor a file of such: %w", err)
	}
	return parseLines(string(content), parsePublicKey)
}

// parseLines reads a key of each line that is neither empty nor a comment.
func parseLines[K any](content string, parse func(line string) (K, error)) (list []K, err error) {
	for n, line := range strings.Split(content, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		one, err := parse(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n+1, err)
		}
		list = append(list, one)
	}
	if len(list) == 0 {
		return nil, errors.New("there is none in that file")
	}
	return list, nil
}

func parsePublicKey(text string) (age.Recipient, error) {
	if strings.HasPrefix(text, "ssh-") {
		return agessh.ParseRecipient(text)
	}
	if strings.HasPrefix(text, "AGE-SECRET-KEY-") {
		return nil, errors.New("there is a secret key: a recipient is the public one, age1…")
	}
	if strings.HasPrefix(text, "age1pq1") {
		return age.ParseHybridRecipient(text)
	}
	return age.ParseX25519Recipient(text)
}

// ReadIdentities reads files of age's secret keys, or ssh's private keys. A file of age's
// that is itself encrypted with a passphrase is opened with what passphrase gives; nil:
// such a file is refused. Errors are ErrKeys.
func ReadIdentities(paths []string, passphrase func(file string) (string, error)) (list []age.Identity, err error) {
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err == nil {
			var more []age.Identity
			if more, err = parseIdentities(content, func() (string, error) { return ask(passphrase, path) }); err == nil {
				list = append(list, more...)
				continue
			}
		}
		return nil, fmt.Errorf("%w: identity %s: %w", ErrKeys, path, err)
	}
	return list, nil
}

func ask(passphrase func(string) (string, error), path string) (string, error) {
	if passphrase == nil {
		return "", errors.New("it is encrypted with a passphrase, and there is nobody to ask for it")
	}
	return passphrase(path)
}

func parseIdentities(content []byte, passphrase func() (string, error)) ([]age.Identity, error) {
	switch {
	case bytes.HasPrefix(content, []byte("-----BEGIN AGE ENCRYPTED FILE-----")):
		return openIdentities(armor.NewReader(bytes.NewReader(content)), passphrase)
	case bytes.HasPrefix(content, []byte("age-encryption.org/")):
		return openIdentities(bytes.NewReader(content), passphrase)
	case bytes.Contains(content, []byte("PRIVATE KEY-----")):
		one, err := agessh.ParseIdentity(content)
		if err != nil {
			return nil, err
		}
		return []age.Identity{one}, nil
	}
	return age.ParseIdentities(bytes.NewReader(content))
}

func openIdentities(r io.Reader, passphrase func() (string, error)) ([]age.Identity, error) {
	word, err := passphrase()
	if err != nil {
		return nil, err
	}
	one, err := age.NewScryptIdentity(word)
	if err != nil {
		return nil, err
	}
	plain, err := age.Decrypt(r, one)
	if err != nil {
		return nil, err
	}
	return age.ParseIdentities(plain)
}
