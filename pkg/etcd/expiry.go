package etcd

import (
	"cmp"
	"crypto/x509"
	"fmt"
	"slices"
	"time"
)

// A certificate that ends within these is worth a word, or more than one (rules H45).
const (
	expiryWarning  = 30 * 24 * time.Hour
	expiryCritical = 7 * 24 * time.Hour
)

// Certificate is what a connection to a member was made with.
type Certificate struct {
	Side     Side      `json:"side"`
	Subject  string    `json:"subject"`
	NotAfter time.Time `json:"notAfter"`
}

// Side is whose certificate it is.
type Side string

// The sides of a connection: the member's, and ours or the relay's.
const (
	ServerSide Side = "server"
	ClientSide Side = "client"
)

// NewCertificate describes leaf.
func NewCertificate(side Side, leaf *x509.Certificate) Certificate {
	return Certificate{Side: side, Subject: leaf.Subject.String(), NotAfter: leaf.NotAfter.UTC()}
}

// Certificates are those of the last connection that came about. Empty: there was none,
// or it had no TLS.
func (c *Client) Certificates() []Certificate {
	if c.endpoint.Certificates != nil {
		return c.endpoint.Certificates()
	}
	return c.link.certificates()
}

// certified is a Reader that knows the certificates of its connection.
type certified interface{ Certificates() []Certificate }

func certificatesOf(reader Reader) []Certificate {
	if r, ok := reader.(certified); ok {
		return r.Certificates()
	}
	return nil
}

// expiry grades the certificate's end; LevelOK: it is far.
func (c Certificate) expiry(now time.Time) (level Level, text string) {
	left := c.NotAfter.Sub(now)
	text = fmt.Sprintf("in %d days, at %s", int(left.Hours()/24), c.NotAfter.Format(time.RFC3339))
	if left <= 0 {
		text = "at " + c.NotAfter.Format(time.RFC3339)
	}
	switch {
	case left < expiryCritical:
		return LevelCritical, text
	case left < expiryWarning:
		return LevelWarning, text
	}
	return LevelOK, text
}

// Expiring says which of a connection's certificates end soon, and when.
func Expiring(member string, certificates []Certificate, now time.Time) []string {
	var texts []string
	for _, c := range certificates {
		if level, _ := c.expiry(now); level != LevelOK {
			texts = append(texts, c.warning(member, now))
		}
	}
	return texts
}

// warning is one sentence. A client's certificate is mostly the same for all members.
func (c Certificate) warning(member string, now time.Time) string {
	_, when := c.expiry(now)
	if c.Side == ServerSide {
		return fmt.Sprintf("the certificate of %s (%s) ends %s", member, c.Subject, when)
	}
	return fmt.Sprintf("the client certificate %s ends %s", c.Subject, when)
}

// judgeCertificates judges each certificate once, soonest first.
func (j *judgement) judgeCertificates(members []MemberView, now time.Time) {
	type held struct {
		Certificate
		by string
	}
	var all []held
	for _, m := range members {
		for _, c := range m.Certificates {
			all = append(all, held{c, m.Name})
		}
	}
	slices.SortStableFunc(all, func(a, b held) int {
		return cmp.Or(a.NotAfter.Compare(b.NotAfter), cmp.Compare(a.by, b.by))
	})
	said := map[string]bool{}
	for _, c := range all {
		level, _ := c.expiry(now)
		text := c.warning(c.by, now)
		if said[text] {
			continue
		}
		said[text] = true
		switch level {
		case LevelCritical:
			j.critical("%s", text)
		case LevelWarning:
			j.warn("%s", text)
		}
	}
}
