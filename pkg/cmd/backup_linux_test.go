package cmd

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// openTerminal opens the inner end of a pseudo-terminal.
func openTerminal(t *testing.T) *os.File {
	t.Helper()
	outer, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { outer.Close() })
	if err := unix.IoctlSetPointerInt(int(outer.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(outer.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	inner, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { inner.Close() })
	return inner
}

// A database on a terminal helps nobody, and its values could steer it.
func TestBackupKeepsOffTheTerminal(t *testing.T) {
	s, _, _ := testSession(nil)
	s.Out = openTerminal(t)
	code := s.execute(t.Context(), newRootCommand(s), []string{"backup", "-f", "-", "--endpoints", "127.0.0.1:1"})
	if code != exitUsage {
		t.Errorf("exit code %d, want %d", code, exitUsage)
	}
}
