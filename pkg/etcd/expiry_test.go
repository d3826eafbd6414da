package etcd

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The levels are those of rule H45; a client's certificate is told once.
func TestVerdictOnCertificates(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	day := 24 * time.Hour
	of := func(side Side, left time.Duration) Certificate {
		return Certificate{Side: side, Subject: "CN=x", NotAfter: now.Add(left)}
	}
	for _, test := range []struct {
		name         string
		certificates [][]Certificate // by member
		level        Level
		reasons      []string
	}{
		{"far", [][]Certificate{{of(ServerSide, 31*day), of(ClientSide, 300*day)}, nil}, LevelOK, nil},
		{"a server's soon", [][]Certificate{{of(ServerSide, 29*day)}, {of(ServerSide, 31*day)}}, LevelWarning,
			[]string{"the certificate of a (CN=x) ends in 29 days, at 2026-01-30T00:00:00Z"}},
		{"a server's very soon, soonest first", [][]Certificate{{of(ServerSide, 8*day)}, {of(ServerSide, 6*day+time.Hour)}}, LevelCritical,
			[]string{
				"the certificate of b (CN=x) ends in 6 days, at 2026-01-07T01:00:00Z",
				"the certificate of a (CN=x) ends in 8 days, at 2026-01-09T00:00:00Z",
			}},
		{"the client's, which both members saw", [][]Certificate{{of(ClientSide, 8*day)}, {of(ClientSide, 8*day)}}, LevelWarning,
			[]string{"the client certificate CN=x ends in 8 days, at 2026-01-09T00:00:00Z"}},
		{"over", [][]Certificate{{of(ServerSide, -day)}, nil}, LevelCritical,
			[]string{"the certificate of a (CN=x) ends at 2025-12-31T00:00:00Z"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			a, b := said(1, 2), said(2, 2)
			a.certs, b.certs = test.certificates[0], test.certificates[1]
			third := said(3, 3)
			a.members, b.members = third.members, third.members
			got := compose([]reading{a, b, third}, now).Verdict
			if got.Level != test.level {
				t.Errorf("level %s, want %s", got.Level, test.level)
			}
			if diff := cmp.Diff(test.reasons, got.Reasons); diff != "" {
				t.Errorf("reasons (-want +got):\n%s", diff)
			}
		})
	}
}

func TestExpiring(t *testing.T) {
	now := time.Now()
	texts := Expiring("etcd-a", []Certificate{
		{Side: ServerSide, Subject: "CN=a", NotAfter: now.Add(10 * 24 * time.Hour)},
		{Side: ClientSide, Subject: "CN=me", NotAfter: now.Add(100 * 24 * time.Hour)},
	}, now)
	if len(texts) != 1 || !strings.HasPrefix(texts[0], "the certificate of etcd-a (CN=a) ends in 10 days, at ") {
		t.Errorf("%q", texts)
	}
}
