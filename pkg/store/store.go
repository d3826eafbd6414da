// Package store keeps the archive of an etcd cluster on a bucket: which objects there are,
// what their names mean, how they are sealed, and how they come to be. What is in a base
// or a segment it does not know. docs/archive-format.md describes the layout.
//
// Its one idea: an object is put once, whole, under a name that tells all that a plan needs
// (revisions, time, writer), and is never changed. A writer puts, gets and lists; only
// prune deletes.
package store

import (
	"errors"
	"fmt"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
)

var (
	// ErrDamaged: an object is not what its writer put.
	ErrDamaged = errors.New("archive is damaged")
	// ErrExists: an object of that name is there already.
	ErrExists = errors.New("object exists")
	// ErrNotFound: there is no such object, timeline or archive.
	ErrNotFound = errors.New("not in the archive")
	// ErrSealed: none of the identities at hand opens it.
	ErrSealed = errors.New("no identity opens it")
	// ErrOtherCluster: the archive of that name is another cluster's.
	ErrOtherCluster = errors.New("the archive is of another cluster")
	// ErrLocation: the bucket's URL can't be used as it is.
	ErrLocation = errors.New("archive location")
	// ErrKeys: a recipient, an identity or a writer's key can't be used as it is.
	ErrKeys = errors.New("archive key")
	// ErrOrigin: it is not known to be a trusted writer's.
	ErrOrigin = errors.New("no trusted writer signed it")
)

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrDamaged}, args...)...)
}

// Archive is what is kept of one etcd cluster: <name>/<main|events> in a bucket.
type Archive struct {
	bucket *Bucket
	id     ArchiveID
	keys   Keys
}

// ArchiveID names an archive in its bucket.
type ArchiveID struct {
	Name string `json:"name"` // of the Kubernetes cluster
	Etcd string `json:"etcd"` // main, events, …
}

func (id ArchiveID) String() string { return id.Name + "/" + id.Etcd }

// Validate refuses what would be more, or less, than two folders.
func (id ArchiveID) Validate() error {
	for _, part := range []string{id.Name, id.Etcd} {
		if !folderPattern.MatchString(part) {
			return fmt.Errorf("archive name %q: letters, digits, dot, dash and underscore, and first a letter or digit", part)
		}
	}
	return nil
}

// NewArchive is the archive of that name, which need not exist.
func NewArchive(bucket *Bucket, id ArchiveID, keys Keys) (*Archive, error) {
	if err := id.Validate(); err != nil {
		return nil, err
	}
	return &Archive{bucket: bucket, id: id, keys: keys}, nil
}

// ID is its name.
func (a *Archive) ID() ArchiveID { return a.id }

// Location is the bucket's, without secrets, and the archive's name.
func (a *Archive) Location() string { return a.bucket.String() + "/" + a.id.String() }

func (a *Archive) key(timeline TimelineID, object string) string {
	return a.id.String() + "/" + string(timeline) + "/" + object
}

// SameCluster tells why two identities can't be of the same cluster; nil: they may. The
// UID decides where both have one: cluster ids are not unique, and a restored cluster may
// have another than before.
func SameCluster(archived, live segment.Identity) error {
	if archived.KubeSystemUID != "" && live.KubeSystemUID != "" {
		if archived.KubeSystemUID != live.KubeSystemUID {
			return fmt.Errorf("%w: its kube-system has the UID %s, and here it is %s", ErrOtherCluster, archived.KubeSystemUID, live.KubeSystemUID)
		}
		return nil
	}
	if archived.Cluster != live.Cluster {
		return fmt.Errorf("%w: its etcd has the cluster id %s, and here it is %s", ErrOtherCluster, archived.Cluster, live.Cluster)
	}
	return nil
}
