package cmd

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/discover"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/relay"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/tunnel"
)

// wayHelper is a tunnel with a certificate that was read on a node, and is in memory here.
const wayHelper way = "helper"

// helperFlags say whether a node's certificate may be read, and with which image.
type helperFlags struct {
	wanted bool
	image  string
	read   *pemBundle // the last one
}

func (f *helperFlags) add(flags *pflag.FlagSet) {
	flags.BoolVar(&f.wanted, "helper", false, "read a node's certificate and key through a short-lived pod there, into this program's memory")
	flags.StringVar(&f.image, "helper-image", "", "the image of that pod, which holds cat (default one that is on the node already)")
}

func (t *target) validateHelper() error {
	switch {
	case !t.helper.wanted:
		return nil
	case t.relay.wanted:
		return usagef("--helper and --relay exclude each other: with --relay the key stays on the node")
	case len(t.endpoints) > 0:
		return usagef("--helper needs Kubernetes, --endpoints does without it")
	case t.onNode:
		return usagef("--helper needs Kubernetes, --on-node does without it: it has the node's own certificates")
	case t.files != tlsFiles{} || t.certSecret != "":
		return usagef("--helper reads a node's certificate: leave out --cacert, --cert, --key and --cert-secret")
	}
	return nil
}

// helperPlan is whose certificate would be read, and how.
type helperPlan struct {
	place relay.Place
	image string
	pull  bool
}

// throughHelper reaches a cluster's pods with a certificate that a node has.
func (t *target) throughHelper(ctx context.Context, k *kubeTarget, cluster discover.Cluster) (*reach, error) {
	missing := t.preflight(ctx, k.client, needs(wayHelper, cluster.Namespace))
	if missing != nil {
		own := append(needs(wayExec, cluster.Namespace), needs(wayForward, cluster.Namespace)...)
		if err := t.preflight(ctx, k.client, own); err != nil {
			return nil, missing
		}
	}
	bundle := t.readInPods(ctx, k.dialer, cluster) // which takes no pod of ours
	if bundle == nil {
		plan, err := t.planHelper(ctx, k.client, cluster)
		if err = cmp.Or(missing, err); err != nil {
			return nil, err
		}
		if bundle, err = t.readThroughPod(ctx, k, plan); err != nil {
			return nil, err
		}
	}
	return t.openPods(k, cluster, wayHelper, bundle)
}

// readInPods reads the files in the etcd pod itself, where its image has a shell: that
// creates nothing. nil: no pod could.
func (t *target) readInPods(ctx context.Context, dialer podDialer, cluster discover.Cluster) *pemBundle {
	for _, pod := range cluster.Pods {
		if pod.PodFiles == nil || !pod.Ready || !pod.NodeReady {
			continue
		}
		files, err := t.catInPod(ctx, dialer, pod)
		if err == nil {
			t.notice("use the certificate of %s, read by the shell in pod %s", pod.Node, pod.Name)
			return newNodeBundle(pod.Node, *pod.PodFiles, files)
		}
		t.log.Info("no certificate by the pod's own shell", "pod", pod.Name, "because", err)
	}
	return nil
}

// shellCat writes the file that $0 names. It needs no program but the shell; in PEM there
// is no backslash that echo might take for more.
const shellCat = `while IFS= read -r line; do echo "$line"; done <"$0"`

func (t *target) catInPod(ctx context.Context, dialer podDialer, pod discover.Pod) (*relay.Files, error) {
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	files := &relay.Files{}
	for _, file := range []struct {
		path string
		into *[]byte
	}{{pod.PodFiles.CA, &files.CA}, {pod.PodFiles.Cert, &files.Cert}, {pod.PodFiles.Key, &files.Key}} {
		var out bytes.Buffer
		err := dialer.Exec(ctx, tunnel.Pod{Namespace: pod.Namespace, Name: pod.Name}, pod.Container, []string{"sh", "-c", shellCat, file.path}, &out)
		if err == nil && out.Len() == 0 {
			err = errors.New("it is empty")
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", file.path, err)
		}
		*file.into = out.Bytes()
	}
	return files, nil
}

// newNodeBundle is what was read on a node; messages name the files there.
func newNodeBundle(node string, paths discover.NodeFiles, files *relay.Files) *pemBundle {
	return &pemBundle{
		CA: files.CA, Cert: files.Cert, Key: files.Key,
		FromCA: node + ":" + paths.CA, FromCert: node + ":" + paths.Cert, FromKey: keyOn(node, paths),
	}
}

// keyOn is where a key is, for messages.
func keyOn(node string, paths discover.NodeFiles) string { return node + ":" + paths.Key }

// errNoHelperImage: nothing on the nodes is known to hold cat.
var errNoHelperImage = errors.New("no image on the etcd nodes is known to hold cat")

// planHelper finds a node that is ready and has an image. The members' authority is one,
// so that the certificate of one node opens all.
func (t *target) planHelper(ctx context.Context, client kubeClient, cluster discover.Cluster) (helperPlan, error) {
	places, err := relayPlaces(cluster)
	if err != nil {
		return helperPlan{}, err
	}
	for i, pod := range cluster.Pods {
		if !pod.NodeReady {
			continue
		}
		if t.helper.image != "" {
			return helperPlan{places[i], t.helper.image, true}, nil
		}
		node, err := client.CoreV1().Nodes().Get(ctx, pod.Node, metav1.GetOptions{})
		if err != nil && unreachable(err) {
			return helperPlan{}, apiError(ctx, "the API server", fmt.Errorf("look for an image on %s: %w", pod.Node, err))
		}
		if err != nil {
			return helperPlan{}, withHint(fmt.Errorf("look for an image on %s: %w", pod.Node, err), "name one that holds cat: --helper-image IMAGE")
		}
		if image := imageWithCat(node.Status.Images); image != "" {
			return helperPlan{places[i], image, false}, nil
		}
	}
	return helperPlan{}, withHint(errNoHelperImage, "name one that the nodes have or can pull: --helper-image busybox")
}

// withCat are repositories of images that hold cat: distributions of Linux, and what is built
// upon one (flannel's images/Dockerfile on Alpine, cilium's images/runtime/Dockerfile on Ubuntu,
// nginx's on Debian or Alpine; Rancher's mirrors of them). Whole names: whoever may run a pod on
// the node can have brought an image there that only calls itself busybox.
var withCat = []string{
	"docker.io/library/busybox", "registry.k8s.io/busybox", "docker.io/rancher/mirrored-library-busybox",
	"docker.io/library/alpine", "docker.io/library/debian", "docker.io/library/ubuntu",
	"ghcr.io/flannel-io/flannel", "docker.io/flannel/flannel", "docker.io/rancher/mirrored-flannel-flannel",
	"quay.io/cilium/cilium", "docker.io/rancher/mirrored-cilium-cilium", "docker.io/library/nginx",
}

// imageWithCat is the name of an image that holds cat; "": none is known to.
func imageWithCat(images []corev1.ContainerImage) string {
	for _, known := range withCat {
		for _, image := range images {
			for _, name := range image.Names {
				tag, found := strings.CutPrefix(name, known+":")
				if found && !strings.ContainsAny(tag, ":@/") {
					return name
				}
			}
		}
	}
	return ""
}

func (t *target) readThroughPod(ctx context.Context, k *kubeTarget, plan helperPlan) (*pemBundle, error) {
	place := plan.place
	paths := discover.NodeFiles{CA: place.CA, Cert: place.Cert, Key: place.Key}
	if t.helper.read != nil && t.helper.read.FromKey == keyOn(place.Node, paths) { // for another cluster of the node
		return t.helper.read, nil
	}
	t.notice("use the certificate of %s, read through a short-lived pod in %s of image %s", place.Node, place.Namespace, plan.image)
	files, err := t.readFiles(ctx, relay.HelperOptions{
		Place: place, Image: plan.image, Pull: plan.pull, Client: k.client, Logger: t.log,
		Exec: func(ctx context.Context, namespace, pod, container string, argv []string, stdout io.Writer) error {
			return k.dialer.Exec(ctx, tunnel.Pod{Namespace: namespace, Name: pod}, container, argv, stdout)
		},
	})
	if errors.Is(err, relay.ErrNotStarted) {
		return nil, withHint(err, "name another image that holds cat and that the node has or can pull: --helper-image IMAGE")
	}
	if err != nil {
		return nil, err
	}
	t.helper.read = newNodeBundle(place.Node, paths, files)
	return t.helper.read, nil
}

// helperAgreed asks who sits at the terminal whether a node's certificate may be read,
// where there is no relay that would leave it there.
func (t *target) helperAgreed(ctx context.Context, k *kubeTarget, cluster discover.Cluster) (bool, error) {
	if t.relay.image != "" || !t.interactive() {
		return false, nil
	}
	plan, err := t.planHelper(ctx, k.client, cluster)
	if err != nil {
		return false, nil // why there is no certificate is the better error
	}
	t.notice("etcd %q wants a client certificate, and none was given.\n"+
		"That of node %s can be read: %s, %s and %s,\n"+
		"by the shell in its etcd pod, if it has one, else through a pod %s/kubectl-etcd-helper-… of image %s, which goes at once.\n"+
		"Certificate and key are in this program's memory as long as it runs, and nowhere else.",
		cluster.Name, plan.place.Node, plan.place.CA, plan.place.Cert, plan.place.Key, plan.place.Namespace, plan.image)
	return t.confirm(ctx, "Read them?")
}
