package segment

import (
	"encoding/hex"
	"fmt"
)

// Revision is a main revision of etcd: the number of one transaction that changed
// something. It sorts as text in the order of its numbers; people read it in decimal (%d).
type Revision int64

func (r Revision) String() string { return fmt.Sprintf("%016x", uint64(r)) }

// LeaseID is a lease of etcd. A client may choose any but 0.
type LeaseID int64

func (id LeaseID) String() string { return fmt.Sprintf("%016x", uint64(id)) }

// ID is a cluster's or a member's, printed as etcdctl prints it; 0 is none.
type ID uint64

func (id ID) String() string { return fmt.Sprintf("%x", uint64(id)) }

// WriterID is random and names one run of one writer.
type WriterID uint32

func (id WriterID) String() string { return fmt.Sprintf("%08x", uint32(id)) }

// Digest is a SHA-256; the zero Digest stands for one that is not known.
type Digest [32]byte

func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// IsZero tells that it is not known.
func (d Digest) IsZero() bool { return d == Digest{} }
