//go:build unix

package binaries

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
)

// installAzurite fetches the version that the set names; those of what it hangs on are
// npm's choice. Nothing of it is run.
func installAzurite(ctx context.Context, log io.Writer, dir string) error {
	_, _ = fmt.Fprintf(log, "fetching %s from npm (once; about a minute)\n", Azurite)
	version := strings.Replace(string(Azurite), "-", "@", 1)
	return run(exec.CommandContext(ctx, "npm", "install", "--prefix", dir, "--ignore-scripts", "--no-audit", "--no-fund", version))
}
