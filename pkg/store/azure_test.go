//go:build azurite

package store

import (
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/test/azure"
)

// TestContractOfAzure is make test-azure: its emulator wants node and npm.
func TestContractOfAzure(t *testing.T) { contractOfServer(t, azure.Start(t)) }
