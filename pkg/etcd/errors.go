package etcd

import "errors"

var (
	// ErrIncomplete: a snapshot stream ended before its sha256.
	ErrIncomplete = errors.New("snapshot stream ended early")
	// ErrHashMismatch: a snapshot's bytes do not agree with the sha256 behind them.
	ErrHashMismatch = errors.New("snapshot does not match its sha256")
	// ErrServerName: the certificate is not for the name that was asked for.
	ErrServerName = errors.New("certificate is for another name")
	// ErrUntrusted: the certificate is signed by an authority that is not trusted.
	ErrUntrusted = errors.New("certificate is signed by an unknown authority")
	// ErrExpired: a certificate, the server's or the client's, is out of date.
	ErrExpired = errors.New("certificate has expired or is not yet valid")
	// ErrClientCert: the member wants a client certificate that it trusts.
	ErrClientCert = errors.New("client certificate refused")
	// ErrPermission: etcd's own roles don't allow it to this user.
	ErrPermission = errors.New("not allowed by etcd's roles")
	// ErrLogin: etcd wants a user, or refused this one.
	ErrLogin = errors.New("login to etcd refused")
)
