package restore

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

func threeMembers() *Snapshot {
	s := &Snapshot{Size: 1000, Version: "3.6.0", Contents: etcd.Contents{Revision: 500, CompactRevision: 100, StorageVersion: "3.6.0"}}
	for i, name := range []string{"c", "a", "b"} {
		s.Members = append(s.Members, etcd.Member{ID: etcd.ID(i + 1), Name: name, PeerURLs: []string{fmt.Sprintf("https://10.0.0.%d:2380", i+1)}})
	}
	return s
}

func TestPlanMembers(t *testing.T) {
	dir := t.TempDir()
	a := Target{Name: "a", PeerURLs: []string{"https://10.0.0.2:2380"}}
	at := func(target Target, dir string) Target { target.Dir = dir; return target }
	b := Target{Name: "b", PeerURLs: []string{"https://10.0.0.3:2380"}}
	c := Target{Name: "c", PeerURLs: []string{"https://10.0.0.1:2380"}}
	other := Target{Name: "x", PeerURLs: []string{"http://192.0.2.1:2380"}, Dir: filepath.Join(dir, "elsewhere")}

	for _, tc := range []struct {
		name     string
		options  Options
		snapshot func(*Snapshot)
		members  []Target
		build    []Target
		warning  string
		err      error
		text     string
	}{
		{
			name: "from the snapshot", options: Options{OutDir: dir},
			members: []Target{at(a, dir+"/a"), at(b, dir+"/b"), at(c, dir+"/c")},
			build:   []Target{at(a, dir+"/a"), at(b, dir+"/b"), at(c, dir+"/c")},
		},
		{
			name: "one of them", options: Options{DataDir: dir + "/data", Only: "b"},
			members: []Target{a, at(b, dir+"/data"), c}, build: []Target{at(b, dir+"/data")},
			warning: "only b is made: the other members of the cluster must be made from this same file, with the same token (kubectl-etcd-",
		},
		{
			name: "one of them, with a token", options: Options{DataDir: dir + "/data", Only: "b", Token: "t"},
			members: []Target{a, at(b, dir+"/data"), c}, build: []Target{at(b, dir+"/data")},
		},
		{
			name: "from the options", options: Options{Members: []Target{other}, OutDir: dir},
			members: []Target{other}, build: []Target{other},
		},
		{
			name: "a single member needs no Only", options: Options{Members: []Target{a}, DataDir: dir + "/data"},
			members: []Target{at(a, dir+"/data")}, build: []Target{at(a, dir+"/data")},
		},
		{
			name: "learner and unstarted", options: Options{OutDir: dir},
			snapshot: func(s *Snapshot) { s.Members[0].Learner, s.Members[1].Name = true, "" },
			members:  []Target{at(b, dir+"/b"), at(c, dir+"/c")}, build: []Target{at(b, dir+"/b"), at(c, dir+"/c")},
			warning: "member c was a learner: it becomes a voter\nmember 2 (https://10.0.0.2:2380) is left out: it had been added but never started",
		},
		{name: "unknown Only", options: Options{OutDir: dir, Only: "z"}, err: ErrMembers, text: `no "z" among a, b, c`},
		{name: "one directory for three", options: Options{DataDir: dir}, err: ErrMembers, text: "say which"},
		{name: "no directory", options: Options{}, text: "no directory"},
		{name: "no member", options: Options{OutDir: dir}, snapshot: func(s *Snapshot) { s.Members = nil }, err: ErrMembers, text: "none"},
		{name: "double name", options: Options{OutDir: dir, Members: []Target{a, a}}, err: ErrMembers, text: "two are named a"},
		{name: "double URL", options: Options{OutDir: dir, Members: []Target{a, {Name: "z", PeerURLs: a.PeerURLs}}}, err: ErrMembers, text: "both have the peer URL"},
		{name: "double directory", options: Options{Members: []Target{at(a, dir+"/x"), at(b, dir+"/x/")}}, err: ErrMembers, text: "same directory"},
		{name: "no URL", options: Options{OutDir: dir, Members: []Target{{Name: "a"}}}, err: ErrMembers, text: "peer URLs of a"},
		{name: "URL without port", options: Options{OutDir: dir, Members: []Target{{Name: "a", PeerURLs: []string{"http://host"}}}}, err: ErrMembers, text: "host"},
		{name: "name that etcd would split", options: Options{OutDir: dir, Members: []Target{{Name: "a=b", PeerURLs: a.PeerURLs}}}, err: ErrMembers, text: "can't be a name"},
		{name: "name that leads out", options: Options{OutDir: dir, Members: []Target{{Name: "..", PeerURLs: a.PeerURLs}}}, err: ErrMembers, text: "can't be that of a directory"},
		{name: "name with a path", options: Options{OutDir: dir, Members: []Target{{Name: "a/b", PeerURLs: a.PeerURLs}}}, err: ErrMembers, text: "can't be that of a directory"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := threeMembers()
			if tc.snapshot != nil {
				tc.snapshot(s)
			}
			p, err := NewPlan(s, tc.options)
			if tc.text != "" {
				if err == nil || !strings.Contains(err.Error(), tc.text) || tc.err != nil && !errors.Is(err, tc.err) {
					t.Errorf("error is %v, want %v with %q", err, tc.err, tc.text)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.members, p.Members); diff != "" {
				t.Errorf("members (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.build, p.Build); diff != "" {
				t.Errorf("build (-want +got):\n%s", diff)
			}
			if got := strings.Join(p.Warnings, "\n"); !strings.HasPrefix(got, tc.warning) || tc.warning == "" && got != "" {
				t.Errorf("warnings %q, want %q", got, tc.warning)
			}
		})
	}
}

func TestPlanRevision(t *testing.T) {
	for _, tc := range []struct {
		name               string
		kubernetes         bool
		bump, highest      int64
		wantBump, revision int64
		warned, refused    bool
	}{
		{name: "plain keys stay", bump: -1, wantBump: 0, revision: 500},
		{name: "kubernetes goes up", kubernetes: true, bump: -1, wantBump: DefaultBump, revision: 500 + DefaultBump},
		{name: "above what the live cluster reached", kubernetes: true, bump: -1, highest: 9000, wantBump: DefaultBump, revision: 9000 + DefaultBump},
		{name: "live cluster is behind", kubernetes: true, bump: -1, highest: 9, wantBump: DefaultBump, revision: 500 + DefaultBump},
		{name: "asked to stay", kubernetes: true, bump: 0, revision: 500},
		{name: "asked to stay, going back", kubernetes: true, bump: 0, highest: 501, revision: 500, warned: true},
		{name: "asked", bump: 7, wantBump: 7, revision: 507},
		{name: "too far", bump: math.MaxInt64, refused: true},
		{name: "too far together", bump: 1 << 61, highest: 1 << 62, refused: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := threeMembers()
			s.Contents.Kubernetes = tc.kubernetes
			p, err := NewPlan(s, Options{OutDir: t.TempDir(), Bump: tc.bump, HighestKnown: tc.highest})
			if tc.refused {
				if err == nil {
					t.Errorf("planned revision %d", p.NewRevision)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if p.Bump != tc.wantBump || p.NewRevision != tc.revision || (len(p.Warnings) > 0) != tc.warned {
				t.Errorf("bump %d, revision %d, warnings %q", p.Bump, p.NewRevision, p.Warnings)
			}
		})
	}
}

func TestPlanVersion(t *testing.T) {
	for _, tc := range []struct{ storage, cluster, asked, want string }{
		{"3.7.0", "3.7.0", "", "3.7"},
		{"", "3.5.0", "", "3.5"},
		{"", "", "", ""}, // 3.4
		{"3.6.0", "3.6.0", "3.4", "3.4"},
		{"", "", "3.7", "3.7"},
		{"3.7.0", "3.7.0", "3.8", "refused"},
		{"3.7.0", "3.7.0", "3.5.1", "refused"},
		{"3.8.0", "3.8.0", "", "refused"},
	} {
		s := threeMembers()
		s.Contents.StorageVersion, s.Version = tc.storage, tc.cluster
		p, err := NewPlan(s, Options{OutDir: t.TempDir(), TargetVersion: tc.asked})
		got := "refused"
		if err == nil {
			got = p.TargetVersion
		}
		if got != tc.want {
			t.Errorf("%+v: got %q, %v", tc, got, err)
		}
	}
}

func TestPlanRefusesWhatExists(t *testing.T) {
	for name, tc := range map[string]struct {
		make func(dir string) error
		want error
	}{
		"nothing":         {func(string) error { return nil }, nil},
		"empty directory": {func(dir string) error { return os.Mkdir(dir, 0o700) }, nil},
		"data directory":  {func(dir string) error { return os.MkdirAll(filepath.Join(dir, "member"), 0o700) }, ErrExists},
		"other content":   {func(dir string) error { return os.MkdirAll(filepath.Join(dir, "x"), 0o700) }, ErrExists},
		"file":            {func(dir string) error { return os.WriteFile(dir, nil, 0o600) }, ErrExists},
		"dangling link":   {func(dir string) error { return os.Symlink("/nonexistent/x", dir) }, ErrExists},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			if err := tc.make(dir); err != nil {
				t.Fatal(err)
			}
			_, err := NewPlan(threeMembers(), Options{Only: "a", DataDir: dir})
			if !errors.Is(err, tc.want) {
				t.Errorf("error is %v, want %v", err, tc.want)
			}
		})
	}
}

func TestPlanTokenIsNew(t *testing.T) {
	seen := map[string]bool{}
	for range 50 {
		p, err := NewPlan(threeMembers(), Options{OutDir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		if seen[p.Token] || !strings.HasPrefix(p.Token, "kubectl-etcd-") {
			t.Fatalf("token %q", p.Token)
		}
		seen[p.Token] = true
	}
}

func TestPlanWarnsOfAlarms(t *testing.T) {
	s := threeMembers()
	s.Alarms = []etcd.Alarm{{MemberID: 1, Type: "NOSPACE"}}
	for clear, want := range map[bool]int{false: 1, true: 0} {
		p, err := NewPlan(s, Options{OutDir: t.TempDir(), ClearAlarms: clear})
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Warnings) != want {
			t.Errorf("clear %v: warnings %q", clear, p.Warnings)
		}
	}
}

func TestPlanDisk(t *testing.T) {
	s := threeMembers()
	s.Size = 100 << 20
	for scratch, want := range map[string]int64{"": 3 * (100 + 16 + 64) << 20, "/scratch": (3*(100+16+64) + 116) << 20} {
		p, err := NewPlan(s, Options{OutDir: t.TempDir(), ScratchDir: scratch})
		if err != nil {
			t.Fatal(err)
		}
		if p.DiskBytes != want {
			t.Errorf("scratch %q: %d MiB, want %d", scratch, p.DiskBytes>>20, want>>20)
		}
	}
}
