//go:build unix

// Package azure runs an emulator of Azure's blob storage (Azurite, in memory) for tests.
// It wants node and npm, so only tests with the tag azurite use it.
package azure

import (
	"context"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/kubectl-etcd/kubectl-etcd/test/cluster/binaries"
	"github.com/kubectl-etcd/kubectl-etcd/test/process"
)

// What Azurite has an account with: its documentation names both.
const (
	account = "devstoreaccount1"
	key     = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)

// Server is a running emulator with one empty container. It ends with its test.
type Server struct {
	Address   string // 127.0.0.1:PORT
	Container string
}

// Start fetches the emulator if it is not in the cache, and starts it.
func Start(t testing.TB) *Server {
	t.Helper()
	dir, err := binaries.Ensure(t.Context(), t.Output(), binaries.Azurite)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Container: "archive"}
	folder := t.TempDir()
	s.Address = process.Serve(t, func(address string) *exec.Cmd { return command(dir, address, folder) }, s.create)
	return s
}

// Login makes the emulator's account the one that Azure's clients find, here and in child
// processes, until the test ends, and hides what else the machine has for them.
func (s *Server) Login(t testing.TB) {
	t.Helper()
	for name, value := range map[string]string{
		"AZURE_STORAGE_ACCOUNT": account, "AZURE_STORAGE_KEY": key, "AZURE_STORAGE_SAS_TOKEN": "",
		"AZURE_STORAGE_CONNECTION_STRING": "", "AZURE_STORAGEBLOB_CONNECTIONSTRING": "",
	} {
		t.Setenv(name, value)
	}
}

// URL names the part of the container below prefix, with the options of gocloud.dev/blob.
func (s *Server) URL(prefix string) string {
	query := url.Values{"protocol": {"http"}, "domain": {s.Address}, "localemu": {"true"}}
	u := url.URL{Scheme: "azblob", Host: s.Container, Path: "/" + prefix, RawQuery: query.Encode()}
	return u.String()
}

// command skips the check of the API's version: the client's is newer.
func command(dir, address, folder string) *exec.Cmd {
	host, port, _ := strings.Cut(address, ":")
	cmd := exec.Command("node", filepath.Join(dir, "node_modules", "azurite", "dist", "src", "blob", "main.js"),
		"--blobHost", host, "--blobPort", port,
		"--inMemoryPersistence", "--disableTelemetry", "--silent", "--skipApiVersionCheck")
	cmd.Dir, cmd.Env = folder, append(os.Environ(), "AZURITE_ACCOUNTS="+account+":"+key)
	return cmd
}

// create is an error while the server at address does not serve.
func (s *Server) create(ctx context.Context, address string) error {
	credential, err := container.NewSharedKeyCredential(account, key)
	if err != nil {
		return err
	}
	client, err := container.NewClientWithSharedKeyCredential("http://"+address+"/"+account+"/"+s.Container, credential, nil)
	if err != nil {
		return err
	}
	_, err = client.Create(ctx, nil)
	return err
}
