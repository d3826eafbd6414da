package etcd

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"
)

// certificateError gives an error of a TLS connection its sentinel, if it is about
// a certificate: ErrServerName, ErrUntrusted, ErrExpired or ErrClientCert.
func certificateError(err error, config *tls.Config) error {
	var (
		name      x509.HostnameError
		authority x509.UnknownAuthorityError
		invalid   x509.CertificateInvalidError
		remote    *net.OpError
	)
	switch {
	case errors.As(err, &name):
		return fmt.Errorf("%w: %w", ErrServerName, name)
	case errors.As(err, &authority):
		return fmt.Errorf("%w: %w", ErrUntrusted, authority)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Errorf("%w: the member's: %w", ErrExpired, invalid)
	case errors.As(err, &remote) && remote.Op == "remote error":
		return alertError(remote, config)
	}
	return err
}

// alertError is for what the member says about our certificate. crypto/tls keeps
// the alert's type to itself, so that its text must do (alert.go, RFC 8446 section 6.2).
func alertError(remote *net.OpError, config *tls.Config) error {
	switch remote.Err.Error() {
	case "tls: expired certificate":
		return fmt.Errorf("%w: the member refused ours%s: %w", ErrExpired, describeOwn(config), remote.Err)
	case "tls: certificate required", "tls: bad certificate", "tls: unsupported certificate",
		"tls: revoked certificate", "tls: unknown certificate", "tls: unknown certificate authority", "tls: access denied":
		return fmt.Errorf("%w%s: %w", ErrClientCert, describeOwn(config), remote.Err)
	case "tls: handshake failure": // what TLS 1.2 says for "certificate required", among others
		if !hasOwn(config) {
			return fmt.Errorf("%w%s: %w", ErrClientCert, describeOwn(config), remote.Err)
		}
	}
	return remote
}

// describeOwn names the client certificate in config: " (CN=x, until 2026-01-02T15:04:05Z)".
func describeOwn(config *tls.Config) string {
	if !hasOwn(config) {
		return " (none was given)"
	}
	leaf := ownLeaf(config)
	if leaf == nil {
		return ""
	}
	return fmt.Sprintf(" (%s, until %s)", leaf.Subject, leaf.NotAfter.UTC().Format(time.RFC3339))
}

// ownLeaf is the client certificate in config; nil: it is not known beforehand.
func ownLeaf(config *tls.Config) *x509.Certificate {
	if len(config.Certificates) == 0 {
		return nil
	}
	return config.Certificates[0].Leaf
}

func hasOwn(config *tls.Config) bool {
	return config != nil && (len(config.Certificates) > 0 || config.GetClientCertificate != nil)
}
