package cmd

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agent"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/discover"
)

const agentExample = `  # The continuous backup as a pod on a control plane node, into an object store; then apply it
  kubectl etcd agent manifest --archive s3://bucket/etcd --env-from etcd-archive --recipient age1… --keep-within 48h --image IMAGE > agent.yaml

  # Defragment, where it is worth it, in the night from Saturday to Sunday
  kubectl etcd agent manifest --defrag --schedule "17 3 * * 0" --image IMAGE > defrag.yaml

  # Into a folder that is mounted on the node
  kubectl etcd agent manifest --archive /mnt/etcd-archive --recipient age1… --keep-within 48h --image IMAGE > agent.yaml`

const agentLong = `Prints plain YAML that runs kubectl etcd backup --follow on a control plane node, so that the
backup does not hang on a laptop. Members, certificates and the cluster's UID are looked up
now and stand in it. The pod gets three files of the node, a client's certificate, its key
and the authority's, and no right in Kubernetes.

Only public keys stand in it: what it writes it can't read.

With --defrag it prints another thing: a CronJob that runs kubectl etcd defrag --auto by the
clock, which mostly finds that nobody needs it. It has no right in Kubernetes either, so that it
does not see who else looks after this etcd, nor what API servers hang on. The members' addresses
stand in both: after one was added or moved elsewhere print it anew. Until then the CronJob's runs
end with an error, for a member that it can't reach may not be well.`

const agentName = "kubectl-etcd-agent"

// agentOptions are those of "kubectl etcd agent manifest".
type agentOptions struct {
	backupOptions
	agentDefrag
	image, name, space, envFrom, signFrom string
}

// newAgentCommand builds "kubectl etcd agent".
func newAgentCommand(s *session) *cobra.Command {
	c := &cobra.Command{
		Use: "agent", Short: "Run the continuous backup inside the cluster", Long: agentLong, Example: agentExample, GroupID: groupBackup,
		Args: onlyCommands, RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newAgentManifestCommand(s))
	return c
}

func newAgentManifestCommand(s *session) *cobra.Command {
	o := &agentOptions{backupOptions: backupOptions{target: newTarget(s)}}
	c := &cobra.Command{
		Use: "manifest [CLUSTER]", Short: "Print the YAML that runs it", Long: agentLong, Example: agentExample,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			o.follow = true
			if o.image == "" {
				return usagef("--image is missing: the relay's image, which holds this program (make image)")
			}
			if o.defrag {
				return o.runDefrag(c.Context(), c.Flags(), args)
			}
			if err := o.complete(args); err != nil {
				return err
			}
			if !o.toArchive() {
				return usagef("which archive? --archive is missing")
			}
			return o.run(c.Context())
		},
	}
	flags := c.Flags()
	flags.StringVar(&o.image, "image", relayImage, "the image that holds this program")
	flags.StringVar(&o.name, "agent-name", agentName, "the Deployment's name; with --defrag the CronJob's, kubectl-etcd-defrag")
	flags.StringVar(&o.space, "agent-namespace", "kube-system", "its namespace")
	o.addDefrag(flags)
	flags.StringVar(&o.envFrom, "env-from", "", "a Secret there with what the object store wants, as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	flags.StringVar(&o.signFrom, "sign-key-from", "", "a Secret there with the key to sign with, under the name sign-key")
	o.abortAtQuota = "90%"
	o.addArchiveFlags(flags)
	o.addFlags(flags)
	return c
}

func (o *agentOptions) run(ctx context.Context) error {
	k, err := o.kubernetes(ctx)
	if err != nil {
		return err
	}
	if len(k.clusters) > 1 {
		return errSeveral(k.clusters)
	}
	cluster := k.clusters[0]
	id, uid, err := o.archiveIdentity(ctx, &reach{cluster: cluster})
	if err != nil {
		return err
	}
	files := nodeFilesOf(cluster)
	if files == nil {
		return withHint(fmt.Errorf("where the nodes of etcd %s keep a client's certificate is not known", cluster.Name),
			"run the backup elsewhere, with --endpoints, --cacert, --cert and --key: kubectl etcd backup --follow")
	}
	options := agent.Options{
		Namespace: o.space, Name: o.name, Image: o.image, EnvFrom: o.envFrom, SignKey: o.signFrom,
		CA: files.CA, Cert: files.Cert, Key: files.Key,
		Args: o.args(cluster, id.Name, id.Etcd, uid),
	}
	if !strings.Contains(o.location, "://") {
		if !filepath.IsAbs(o.location) {
			return usagef("--archive %s: a folder of the node is named from its root", o.location)
		}
		options.Folder = o.location
		o.notice("warning: the archive is a folder of the very node whose etcd it is to save; mount something else there")
	}
	if o.signKey != "" && o.signFrom == "" {
		o.notice("warning: the agent can't read %s, and signs nothing: --sign-key-from SECRET", o.signKey)
	}
	return o.printYAML(agent.Objects(options))
}

// nodeFilesOf are those of any member: on the nodes of one cluster they lie in the same place.
func nodeFilesOf(c discover.Cluster) *discover.NodeFiles {
	for _, pod := range c.Pods {
		if pod.NodeFiles != nil {
			return pod.NodeFiles
		}
	}
	return nil
}

// args are the backup's, which needs no Kubernetes.
func (o *agentOptions) args(c discover.Cluster, name, etcdName, uid string) []string {
	args := []string{
		"--endpoints", strings.Join(endpointsOf(c), ","), "--archive", o.location, "--archive-name", name, "--archive-etcd", etcdName,
		"--cluster-uid", uid, "--every", o.every.String(), "--flush", o.flush.String(), "--spool-max", o.spoolMax, "--rate", o.rate,
	}
	for _, r := range o.recipients {
		for _, key := range publicKeys(r) {
			args = append(args, "--recipient", key)
		}
	}
	if o.noEncryption {
		args = append(args, "--no-encryption")
	}
	if o.metrics != "" {
		args = append(args, "--metrics", o.metrics)
	}
	return append(args, o.keep.args()...)
}

// endpointsOf are where the members serve clients, as their nodes reach them.
func endpointsOf(c discover.Cluster) []string {
	var endpoints []string
	for _, pod := range c.Pods {
		scheme := "http://"
		if pod.TLS {
			scheme = "https://"
		}
		endpoints = append(endpoints, scheme+net.JoinHostPort(pod.PodIP, strconv.Itoa(pod.ClientPort)))
	}
	return endpoints
}

// publicKeys are what a recipient stands for: itself, or the lines of its file, which is not
// there in the pod. It was parsed before.
func publicKeys(recipient string) (keys []string) {
	content, err := os.ReadFile(recipient)
	if err != nil {
		return []string{recipient}
	}
	for _, line := range strings.Split(string(content), "\n") {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			keys = append(keys, line)
		}
	}
	return keys
}

func (o *agentOptions) printYAML(objects []runtime.Object) error {
	var out bytes.Buffer
	for i, object := range objects {
		b, err := yaml.Marshal(object)
		if err != nil {
			return fmt.Errorf("print manifest: %w", err)
		}
		if i > 0 {
			out.WriteString("---\n")
		}
		out.Write(bytes.ReplaceAll(b, []byte("status: {}\n"), nil))
	}
	_, err := o.Out.Write(out.Bytes())
	return err
}
