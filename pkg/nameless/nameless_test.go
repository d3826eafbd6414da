//go:build unix

package nameless

import (
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestNoName(t *testing.T) {
	dir := t.TempDir()
	made, err := Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "there")
	if err := os.WriteFile(path, []byte("what was there"), 0o600); err != nil {
		t.Fatal(err)
	}
	adopted, err := Adopt(path)
	if err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("they have names: %v, %v", left, err)
	}
	if b, err := io.ReadAll(adopted); err != nil || string(b) != "what was there" {
		t.Errorf("it holds %q, %v", b, err)
	}
	for _, file := range []*os.File{made, adopted} {
		if err := Close(file); err != nil {
			t.Error(err)
		}
	}
}

// What one handle wrote another reads, after the first was closed.
func TestAgain(t *testing.T) {
	file, err := Create(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	second, err := Again(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := second.WriteAt([]byte("text"), 0); err != nil {
		t.Fatal(err)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4)
	if _, err := file.ReadAt(b, 0); err != nil || string(b) != "text" {
		t.Errorf("it holds %q, %v", b, err)
	}
	if err := Close(file); err != nil {
		t.Error(err)
	}
	if _, err := Again(file); err == nil {
		t.Error("a closed file has another handle")
	}
}

func TestErrors(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "absent")
	if _, err := Create(dir); err == nil {
		t.Error("a file in a folder that is not there")
	}
	if _, err := Adopt(dir); err == nil {
		t.Error("a file that is not there")
	}
}

func TestSweep(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{".kubectl-etcd-1.part": "", ".kubectl-etcd-2.part": "not empty", "mine.part": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	Sweep(dir, time.Now())
	if left, _ := os.ReadDir(dir); len(left) != 3 {
		t.Errorf("what is new went: %v", left)
	}
	Sweep(dir, time.Now().Add(2*time.Hour))
	if left, _ := os.ReadDir(dir); len(left) != 2 || left[0].Name() != ".kubectl-etcd-2.part" {
		t.Errorf("left: %v", left)
	}
}
