//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"crypto/rsa"
	"crypto/tls"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestKeysStayInMemory stops a backup in its middle, by every way to a certificate, and
// looks for the key wherever one might get to: temporary folders, the home folder, the
// files that the process has open, and what it says at -v=9. Through a relay it is not even
// in the process's memory; that the other ways have it there shows that the search works.
func TestKeysStayInMemory(t *testing.T) {
	fill(t, 16)
	binary := buildPlain(t)
	own := filepath.Join(shared.Certs(), "client")
	nodes := node(t, "node0").Path("/etc/kubernetes/pki/etcd/healthcheck-client")
	for _, test := range []struct {
		name     string
		key      string // its file, without .key
		flags    []string
		inMemory bool
	}{
		{"files", own, certFlags(), true},
		{"a Secret", own, []string{"--cert-secret", clientSecret(t)}, true},
		// node0's is the client's own, which "a Secret" puts into etcd and so into every snapshot.
		{"a relay", node(t, "node1").Path("/etc/kubernetes/pki/etcd/healthcheck-client"), relayFlags(t), false},
		{"a helper", nodes, []string{"--helper"}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			needles := traces(t, readFile(t, test.key+".key"), test.key+".crt")
			began := time.Now()
			home, temp := t.TempDir(), t.TempDir()
			c := exec.Command(binary, append(test.flags, "-v=9")...)
			c.Env = append(cleanEnv(), "KUBECONFIG="+shared.Kubeconfig(), "HOME="+home, "TMPDIR="+temp)
			held := holdCommand(t, c)
			needles.absentFromOpenFiles(t, c.Process.Pid, filepath.Dir(held.path))
			found := needles.inMemory(t, c.Process.Pid)
			got := held.goOn(t)
			got.wantExit(t, 0)
			if found != test.inMemory {
				t.Errorf("the key is in the process's memory: %t, want %t", found, test.inMemory)
			}
			for _, dir := range []string{home, temp, os.TempDir(), "/var/tmp", "/dev/shm"} {
				needles.absentBelow(t, dir, filepath.Dir(held.path), began)
			}
			if !strings.Contains(got.stderr, "level=") {
				t.Errorf("-v=9 says nothing: %s", got.stderr)
			}
			needles.absent(t, "what it says", []byte(got.stdout+got.stderr))
		})
	}
}

// buildPlain builds the plugin without the race detector, whose shadow memory is too large
// to look through.
func buildPlain(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "kubectl-etcd")
	if out, err := exec.Command("go", "build", "-o", binary, "../../cmd/kubectl-etcd").CombinedOutput(); err != nil {
		t.Fatalf("build the plugin: %v: %s", err, out)
	}
	return binary
}

// clientSecret puts the client's certificate into a Secret for as long as the test runs.
func clientSecret(t *testing.T) string {
	t.Helper()
	dir := shared.Certs()
	const name = "e2e-etcd-client"
	t.Cleanup(func() { _, _ = tryKubectl("delete", "secret", "-n", "kube-system", name, "--ignore-not-found") })
	kubectl(t, "create", "secret", "generic", "-n", "kube-system", name,
		"--from-file=ca.crt="+filepath.Join(dir, "ca.crt"),
		"--from-file=tls.crt="+filepath.Join(dir, "client.crt"),
		"--from-file=tls.key="+filepath.Join(dir, "client.key"))
	return "kube-system/" + name
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// keyTraces are byte strings that only show up where a key is, by the form that it has.
type keyTraces map[string][]byte

func traces(t *testing.T, key []byte, certificate string) keyTraces {
	t.Helper()
	block, _ := pem.Decode(key)
	if block == nil || len(block.Bytes) < 100 {
		t.Fatal("the key is no PEM")
	}
	parsed, err := tls.X509KeyPair(readFile(t, certificate), key)
	if err != nil {
		t.Fatal(err)
	}
	prime := parsed.PrivateKey.(*rsa.PrivateKey).Primes[0].Bytes()
	slices.Reverse(prime) // a number's least significant word comes first in memory
	lines := strings.Split(string(key), "\n")
	line := lines[len(lines)/2]
	inSecret := base64.StdEncoding.EncodeToString(key)
	found := keyTraces{
		"PEM":             []byte(line),
		"a number":        prime[16:48],
		"DER":             block.Bytes[len(block.Bytes)/2 : len(block.Bytes)/2+32],
		"a Secret's JSON": []byte(inSecret[len(inSecret)/2 : len(inSecret)/2+60]),
	}
	for i := range 16 { // the column of text beside a hex dump, however it falls
		found[fmt.Sprint("a dump, at ", i)] = []byte("|" + line[i:i+16] + "|")
	}
	return found
}

func (n keyTraces) absent(t *testing.T, where string, content []byte) {
	t.Helper()
	for form, trace := range n {
		if bytes.Contains(content, trace) {
			t.Errorf("the key is in %s, as %s", where, form)
		}
	}
}

// absentBelow looks into the files below dir that changed since began. What the user asked
// for, in except, holds all of etcd.
func (n keyTraces) absentBelow(t *testing.T, dir, except string, began time.Time) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil // gone again, or not ours
		case path == except:
			return fs.SkipDir
		}
		info, err := entry.Info()
		if err == nil && info.Mode().IsRegular() && info.ModTime().After(began) {
			if content, err := os.ReadFile(path); err == nil {
				n.absent(t, path, content)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// absentFromOpenFiles looks into the process's files, deleted ones as well.
func (n keyTraces) absentFromOpenFiles(t *testing.T, pid int, except string) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) < 3 {
		t.Fatalf("open files of %d: %v, %v", pid, entries, err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		target, _ := os.Readlink(path)
		info, err := os.Stat(path)
		named := strings.HasPrefix(target, "/") // a pidfd is a regular file, too, and can't be opened
		if err != nil || !named || !info.Mode().IsRegular() || strings.HasPrefix(target, except) {
			continue
		}
		n.absent(t, "the open file "+target, readFile(t, path))
	}
}

// inMemory looks for the key through all that the process may write to.
func (n keyTraces) inMemory(t *testing.T, pid int) bool {
	t.Helper()
	maps, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer maps.Close()
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Close()
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		var from, to int64
		var rights string
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x %s", &from, &to, &rights); err != nil || !strings.HasPrefix(rights, "rw") {
			continue
		}
		region, _ := io.ReadAll(io.NewSectionReader(memory, from, to-from)) // what can be read of it
		for _, form := range []string{"PEM", "DER", "a number"} {
			if bytes.Contains(region, n[form]) {
				t.Logf("it is in memory as %s", form)
				return true
			}
		}
	}
	return false
}
