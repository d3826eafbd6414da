package cmd

import (
	"context"
	"crypto/tls"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/backup"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/capture"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/discover"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/maintain"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/relay"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/runbook"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/tunnel"
)

// fault is an error as the user meets it.
type fault struct {
	message string
	hints   []string
	code    int
}

const (
	endpointsHint = "etcd can be reached without the API server: kubectl etcd status --endpoints https://HOST:2379 --cacert ca.crt --cert client.crt --key client.key"
	// onNodeBackupHint is onNodeHint for a backup.
	onNodeBackupHint = "on a control plane node, as root, its own member may still give one: kubectl etcd backup --on-node -f snapshot.db"
	certFilesHint    = "name files that go together with --cacert, --cert and --key (or ETCDCTL_CACERT, ETCDCTL_CERT, ETCDCTL_KEY); " + kubeadmCerts
	kubeadmCerts     = "on a kubeadm node these are /etc/kubernetes/pki/etcd/ca.crt, healthcheck-client.crt and healthcheck-client.key"
)

// explain is the one switch from an error to message, hint and exit code. path is
// the command that ran, as it is typed.
func (s *session) explain(err error, path string) fault {
	f := fault{message: err.Error(), code: exitError}
	var (
		exit     exitWith
		usage    *usageError
		hinted   *hintedError
		notFound *discover.NotFoundError
	)
	switch {
	case errors.As(err, &exit):
		return fault{code: int(exit)}
	case readerGone(err):
		return fault{code: exitError}
	case errors.As(err, &usage):
		f.code, f.hints = exitUsage, []string{path + " --help"}
	case errors.As(err, &notFound):
		f.code, f.hints = exitNotFound, []string{notFound.Instead}
	case errors.Is(err, tunnel.ErrUnreachable):
		f.code, f.hints = exitUnreachable, []string{onNodeHint, endpointsHint}
		f.message = requestURL.ReplaceAllString(f.message, ": ")
	case errors.Is(err, store.ErrOrigin):
		f.code, f.hints = exitDamaged, []string{"nothing was restored; see what is signed, and by which key: kubectl etcd verify --trusted-writer KEY; without --trusted-writer nobody is asked who wrote it"}
	case errors.Is(err, store.ErrDamaged), errors.Is(err, segment.ErrDamaged), errors.Is(err, restore.ErrHash), errors.Is(err, restore.ErrFork), errors.Is(err, restore.ErrGap):
		f.code, f.hints = exitDamaged, []string{"nothing was restored; see what is sound: kubectl etcd verify; another moment may be whole: kubectl etcd backups"}
	case errors.Is(err, store.ErrGap):
		f.code, f.hints = exitDamaged, []string{"choose a moment that was captured: kubectl etcd backups"}
	case errors.Is(err, store.ErrLocation):
		f.code, f.hints = exitUsage, []string{"a folder, s3://BUCKET/PREFIX?region=…, gs://BUCKET/PREFIX or azblob://CONTAINER/PREFIX: " + path + " --archive LOCATION"}
	case errors.Is(err, restore.ErrDamaged):
		f.code, f.hints = exitDamaged, []string{"use another snapshot: kubectl etcd restore lists those in this folder"}
	case apierrors.IsForbidden(err):
		f.hints = []string{"ask for this right, and check it with: " + canIFromMessage(err.Error())}
	case apierrors.IsUnauthorized(err):
		f.hints = []string{"the API server refused the kubeconfig's credentials; log in again, then: kubectl auth whoami"}
	case errors.Is(err, backup.ErrWrite) && errors.Is(err, fs.ErrExist): // restore's have no --overwrite
		f.hints = []string{"name another file with -f, or replace this one: --overwrite"}
	case errors.Is(err, backup.ErrNoMember):
		f.hints = append(plainHints(err), "why: kubectl etcd status", onNodeBackupHint)
	default:
		f.hints = plainHints(err)
	}
	switch {
	case f.hints != nil:
	case errors.Is(err, fs.ErrNotExist):
		f.hints = []string{missingHint(err, path)}
	case errors.Is(err, backup.ErrWrite):
		f.hints = []string{"nothing was kept; choose another file: -f FILE"}
	}
	if errors.As(err, &hinted) {
		f.hints = hinted.hints
	}
	return f
}

// requestURL is how net/http names a request, the whole query with it; what was asked for is said
// before it, and the server.
var requestURL = regexp.MustCompile(`: (?:Get|Post|Put|Patch|Delete) "[^"]*": `)

// missingHint is for a path that leads nowhere.
func missingHint(err error, path string) string {
	var missing *fs.PathError
	switch {
	case errors.Is(err, backup.ErrWrite):
		return "its folder must exist: make it with mkdir -p, or name another file with -f"
	case strings.HasSuffix(path, " restore"):
		return "those in this folder are listed by: kubectl etcd restore"
	case errors.As(err, &missing):
		return "look at what is there: ls -l " + runbook.Quote(filepath.Dir(missing.Path))
	}
	return "look at the path; a relative one begins in this folder: pwd"
}

// readerGone tells that whoever read standard output wants no more, as "| head" does:
// that is no news to them. A connection that broke is.
func readerGone(err error) bool {
	var path *fs.PathError
	return errors.As(err, &path) && path.Path == os.Stdout.Name() && errors.Is(path, syscall.EPIPE)
}

// plainHints are the hints that go with exit code 1. Of several members' errors, joined,
// the first in this order speaks: a wrong certificate or user is for the caller to mend,
// and every member refuses it; a port that nobody answers may be one dead member's.
func plainHints(err error) []string {
	for _, known := range []struct {
		err  error
		hint string
	}{
		{tunnel.ErrForbidden, "check your rights with: " + canI("create", "pods/portforward", "kube-system")},
		{tunnel.ErrKubelet, "it asks an API server, and one that has just started says no; kubelets keep that for 30 s: wait, then run the command again"},
		{etcd.ErrServerName, "the certificate names another server than was dialed; use an address that stands in it: openssl x509 -in server.crt -noout -ext subjectAltName"},
		{etcd.ErrUntrusted, "--cacert must be the authority that signed etcd's certificates; " + kubeadmCerts},
		{etcd.ErrExpired, "look at the dates, and at this machine's clock: openssl x509 -in client.crt -noout -dates; on a kubeadm node: kubeadm certs check-expiration"},
		{etcd.ErrClientCert, "give a client certificate that etcd's authority signed: --cacert, --cert and --key; " + kubeadmCerts},
		{etcd.ErrLogin, "give etcd's own user: --etcd-user NAME:PASSWORD, or ETCDCTL_USER and ETCDCTL_PASSWORD"},
		{etcd.ErrPermission, "etcd's own roles refuse it; give a user with the role root: --etcd-user NAME:PASSWORD"},
		{tunnel.ErrRefused, "nothing answers on that port, or the pod is gone; look at the pods: kubectl get pods -A -o wide | grep etcd"},
		{tunnel.ErrDropped, "the tunnel through the API server ended on the way; run the command again, or name another member with --from"},
		{relay.ErrNotStarted, "the image must be on the node or to be had from there (--relay-image); more: kubectl get events -n kube-system --field-selector type=Warning"},
		{relay.ErrForeign, "nothing was sent; somebody else's pod or proxy answers in the relay's place: kubectl get pods -n kube-system -l app.kubernetes.io/name=kubectl-etcd-relay -o wide"},
		{relay.ErrMember, "the relay on the node runs, but its etcd refuses it: kubectl etcd status; on the node: crictl ps -a | grep etcd"},
		{discover.ErrNoCredentials, "name a Secret with a certificate and its key, or give --cacert, --cert and --key; " + kubeadmCerts},
		{backup.ErrQuota, "what came is no whole snapshot; read it faster or at a quieter time, or let the database grow further: --abort-at-quota; its size: kubectl etcd status"},
		{etcd.ErrIncomplete, "nothing was kept; run the command again, or name another member with --from"},
		{etcd.ErrHashMismatch, "nothing was kept; run the command again, or name another member with --from"},
		{restore.ErrNotSnapshot, "give a file that kubectl etcd backup or etcdctl snapshot save made; kubectl etcd restore lists those in this folder"},
		{restore.ErrMembers, "name all members of the new cluster: --initial-cluster NAME=https://HOST:2380,…"},
		{restore.ErrNoSpace, "nothing was written; make room, or choose a folder on another disk"},
		{restore.ErrExists, "nothing was touched; name a folder that doesn't exist yet"},
		{store.ErrSealed, "give the secret key that belongs to one of the archive's recipients: --identity FILE"},
		{store.ErrKeys, "kubectl etcd keygen -f FILE makes a key; --recipient takes its public half, --identity the file"},
		{store.ErrOtherCluster, "each cluster has an archive of its own: --archive-name NAME, or another --archive; look at this one: kubectl etcd backups"},
		{store.ErrNoBase, "see which moments there are: kubectl etcd backups"},
		{store.ErrNotFound, "look at the place: kubectl etcd backups --archive LOCATION"},
		{restore.ErrNotCaptured, "see which moments there are: kubectl etcd backups; a snapshot's file: kubectl etcd restore"},
		{restore.ErrRunning, "stop that member first: on a kubeadm node, move etcd.yaml out of /etc/kubernetes/manifests into /etc/kubernetes/manifests.held, where the steps of a restore look for it; or work on a copy that was made while it was stopped"},
		{restore.ErrNoLog, "its database alone is a snapshot's without a checksum: copy member/snap/db, and start one member on it with --force-new-cluster; or take another member's directory"},
		{backup.ErrSpoolFull, "the archive took nothing for too long; see whether it can be reached, and start again: what was compacted meanwhile is in the next base"},
		{backup.ErrBaseNeeded, "take one: kubectl etcd backup --archive LOCATION"},
		{capture.ErrHidden, "give a user that may read every key: root, or none where auth is off; --etcd-user"},
		{maintain.ErrUnready, "see what is wrong: kubectl etcd status; what mends it: kubectl etcd health"},
		{maintain.ErrNoMember, "see who is a member: kubectl etcd member list"},
		{maintain.ErrLocked, "wait for its end; a run that was killed keeps others away for at most 2m"},
		{maintain.ErrFull, "see what comes first: kubectl etcd alarm disarm --dry-run"},
		{maintain.ErrNoClock, "say it yourself: --revision N; what it is now: kubectl etcd status -o wide"},
		{segment.ErrVersion, "a newer kubectl etcd wrote it; update this one: kubectl krew upgrade etcd"},
		{segment.ErrTooLarge, "what no segment can hold a base does: kubectl etcd backup --archive LOCATION"},
		{capture.ErrDisagree, "see which member differs: kubectl etcd health --check H40 --deep"},
		{store.ErrExists, "somebody else writes to this archive: see what it holds, kubectl etcd backups, and let one writer go on"},
		{backup.ErrStalled, "nothing was kept; see who answers: kubectl etcd status, and name another member with --from"},
		{syscall.ENOSPC, "the disk is full; make room or choose another place, nothing was left behind"},
		{syscall.EROFS, "that file system is read-only; choose another place"},
		{errNoVoter, "see why: kubectl etcd status"},
		{errLive, "see who answers: kubectl etcd status"},
		{fs.ErrPermission, "you may not write or read there; choose another place, or run as the user who may"},
	} {
		if errors.Is(err, known.err) {
			return []string{known.hint}
		}
	}
	return nil
}

// forbiddenText is how the API server words a refusal by RBAC.
var forbiddenText = regexp.MustCompile(`cannot (\S+) resource "([^"]+)" in API group "([^"]*)"(?: in the namespace "([^"]+)")?`)

// canIFromMessage turns a refusal into the command that checks that very right. The
// verb stands nowhere but in the message: StatusDetails holds only the kind.
func canIFromMessage(message string) string {
	m := forbiddenText.FindStringSubmatch(message)
	if m == nil {
		return "kubectl auth can-i --list"
	}
	resource := m[2]
	if m[3] != "" {
		kind, sub, hasSub := strings.Cut(resource, "/")
		if resource = kind + "." + m[3]; hasSub {
			resource += "/" + sub
		}
	}
	return canI(m[1], resource, m[4])
}

// canI is the command that asks for a right. A subresource needs its flag: in
// "can-i create pods/portforward" kubectl takes "portforward" for a pod's name and
// answers another question (kubectl's pkg/cmd/auth/cani.go, v0.37.2).
func canI(verb, resource, namespace string) string {
	kind, sub, hasSub := strings.Cut(resource, "/")
	line := "kubectl auth can-i " + verb + " " + kind
	if hasSub {
		line += " --subresource=" + sub
	}
	if namespace == "" {
		return line + " -A"
	}
	return line + " -n " + namespace
}

// unreachable tells whether err means that no API server did its work: it could not
// be reached, or its own etcd keeps it from answering.
func unreachable(err error) bool {
	var (
		network     net.Error // a *url.Error is one, whatever it holds
		certificate *tls.CertificateVerificationError
	)
	if errors.Is(err, context.Canceled) || errors.As(err, &certificate) {
		return false
	}
	return errors.As(err, &network) ||
		errors.Is(err, context.DeadlineExceeded) ||
		apierrors.IsTimeout(err) || apierrors.IsServerTimeout(err) ||
		apierrors.IsServiceUnavailable(err) || apierrors.IsInternalError(err) || apierrors.IsTooManyRequests(err)
}
