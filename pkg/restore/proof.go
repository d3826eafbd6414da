package restore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
)

// Proof is how far a moment is known to be what the source had: by a hash that its members
// gave, up to Revision, and from there by revisions without a gap and checksums alone.
type Proof struct {
	Revision segment.Revision `json:"revision,omitempty"` // 0: no hash can be compared
	From     segment.Revision `json:"from,omitempty"`     // the compaction at which the hash begins
	Hash     uint32           `json:"hash,omitempty"`
	Members  []string         `json:"members,omitempty"` // that gave it
	Voters   int              `json:"voters,omitempty"`
	// Proven: a quorum of the source's members gave this hash.
	Proven bool   `json:"proven"`
	Reason string `json:"reason,omitempty"` // why it is not
}

// Prove holds a moment in its file against the hashes that its source gave. A hash that is
// another is ErrHash: this is not what the source had.
func Prove(ctx context.Context, file *os.File, m *Moment, voters int) (*Proof, error) {
	size, err := fileSize(file)
	if err != nil {
		return nil, err
	}
	proof := &Proof{Voters: voters, Reason: "the source's members gave no hash up to this revision"}
	for _, group := range groupHashes(m.Attestations) {
		hash := group[0]
		for _, other := range group[1:] {
			if other.Hash != hash.Hash {
				return nil, fmt.Errorf("%w: the source's members %s and %s had different hashes at revision %d", ErrHash, hash.Member, other.Member, hash.Revision)
			}
		}
		switch err := attested(ctx, file, size, hash); {
		case errors.Is(err, ErrUnproven):
			proof.Reason = "the hashes that the source's members gave begin before the base"
			continue
		case err != nil:
			return nil, err
		}
		return proof.by(group), nil
	}
	return proof, nil
}

func (p *Proof) by(group []segment.Hash) *Proof {
	p.Revision, p.From, p.Hash, p.Reason = group[0].Revision, group[0].CompactRevision, group[0].Hash, ""
	for _, hash := range group {
		if id := hash.Member.String(); !slices.Contains(p.Members, id) {
			p.Members = append(p.Members, id)
		}
	}
	if p.Proven = p.Voters > 0 && len(p.Members) > p.Voters/2; !p.Proven {
		p.Reason = fmt.Sprintf("%d of %d members gave the hash, which is no quorum", len(p.Members), p.Voters)
	}
	return p
}

// groupHashes puts those of one range of revisions together, the latest first.
func groupHashes(hashes []segment.Hash) (groups [][]segment.Hash) {
	for _, hash := range slices.Backward(hashes) {
		i := slices.IndexFunc(groups, func(g []segment.Hash) bool {
			return g[0].Revision == hash.Revision && g[0].CompactRevision == hash.CompactRevision
		})
		if i < 0 {
			groups = append(groups, []segment.Hash{hash})
			continue
		}
		groups[i] = append(groups[i], hash)
	}
	return groups
}
