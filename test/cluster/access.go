//go:build unix

package cluster

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"k8s.io/client-go/tools/clientcmd"
)

// Kubeconfig is the path of an administrator's kubeconfig that works from this
// machine's ordinary network, balanced over the API servers.
func (c *Cluster) Kubeconfig() string { return filepath.Join(c.dir, "kubeconfig") }

// Certs is a folder with ca.crt, client.crt and client.key for etcd: those of
// kubeadm's health-check client.
func (c *Cluster) Certs() string { return filepath.Join(c.dir, "certs") }

// writeAccess writes what Kubeconfig and Certs point to.
func (c *Cluster) writeAccess() error {
	if err := c.writeKubeconfig(); err != nil {
		return fmt.Errorf("write kubeconfig: %w", err)
	}
	if err := c.writeCerts(); err != nil {
		return fmt.Errorf("write etcd certificates: %w", err)
	}
	return nil
}

func (c *Cluster) writeKubeconfig() error {
	config, err := clientcmd.LoadFromFile(c.nodes[0].Path("/etc/kubernetes/admin.conf"))
	if err != nil {
		return err
	}
	for _, cluster := range config.Clusters {
		cluster.Server = "https://" + c.state.loopback()
	}
	return clientcmd.WriteToFile(*config, c.Kubeconfig()) // mode 0600
}

func (c *Cluster) writeCerts() error {
	if err := os.MkdirAll(c.Certs(), 0o700); err != nil {
		return err
	}
	pki := c.nodes[0].Path("/etc/kubernetes/pki/etcd")
	for from, to := range map[string]string{
		"ca.crt": "ca.crt", "healthcheck-client.crt": "client.crt", "healthcheck-client.key": "client.key",
	} {
		raw, err := os.ReadFile(filepath.Join(pki, from))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(c.Certs(), to), raw, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// startBalancer starts the load balancer, unless it runs. The loopback listener
// is opened here, in the machine's network, and handed over; the balancer itself
// lives in the lab.
func (c *Cluster) startBalancer(ctx context.Context) error {
	pids, err := networkProcesses(c.lab())
	if err != nil {
		return fmt.Errorf("start load balancer: %w", err)
	}
	if slices.ContainsFunc(pids, func(pid int) bool { return programName(pid) == "apibalancer" }) {
		return nil
	}
	program, err := c.buildHelper(ctx, "apibalancer")
	if err != nil {
		return err
	}
	if err := c.launchBalancer(ctx, program); err != nil {
		return fmt.Errorf("start load balancer: %w", err)
	}
	return nil
}

// buildHelper builds a program of test/cluster/cmd that runs in the lab.
func (c *Cluster) buildHelper(ctx context.Context, name string) (string, error) {
	program := filepath.Join(c.dir, name)
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "github.com/kubectl-etcd/kubectl-etcd/test/cluster/cmd/"+name)
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if _, err := output(build); err != nil {
		return "", fmt.Errorf("build %s: %w", name, err)
	}
	return program, nil
}

func (c *Cluster) launchBalancer(ctx context.Context, program string) error {
	listener, err := net.Listen("tcp", c.state.loopback())
	if err != nil {
		return err
	}
	defer listener.Close() //nolint:errcheck // the balancer has its own copy
	inherited, err := listener.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	defer inherited.Close() //nolint:errcheck // and so of this
	log, err := os.OpenFile(filepath.Join(c.dir, "apibalancer.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() //nolint:errcheck // nothing is written here: the balancer has its own copy

	args := []string{"--fork", "nsenter", "--net=" + c.lab(), program, c.state.endpoint()}
	for _, n := range c.nodes {
		args = append(args, net.JoinHostPort(n.IP, "6443"))
	}
	cmd := exec.CommandContext(ctx, "setsid", args...)
	cmd.ExtraFiles = []*os.File{inherited} // descriptor 3
	cmd.Stdout, cmd.Stderr = log, log
	return cmd.Run()
}
