package durable

import (
	"errors"
	"os"
	"syscall"
	"testing"
)

// TestFullDisk writes to the kernel's own full device.
func TestFullDisk(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	file := &File{path: "/backups/s.db", file: full}
	if _, err := file.Write([]byte("x")); !errors.Is(err, syscall.ENOSPC) || err.Error() != "/backups/s.db: no space left on device" {
		t.Errorf("Write = %v, want the file's name and ENOSPC", err)
	}
}
