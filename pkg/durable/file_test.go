package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// contents are the files of dir: name → content, with the mode where it is not 0600.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		info, infoErr := entry.Info()
		if err := errors.Join(err, infoErr); err != nil {
			t.Fatal(err)
		}
		found[entry.Name()] = string(content)
		if info.Mode() != 0o600 {
			found[entry.Name()] += " " + info.Mode().String()
		}
	}
	return found
}

func write(t *testing.T, file *File, text string) {
	t.Helper()
	if _, err := file.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

func TestFile(t *testing.T) {
	for _, test := range []struct {
		name            string
		before, late    string // what is at the path before Create, and before Commit
		overwrite       bool
		atCreate, atEnd error
		want            map[string]string
	}{
		{name: "new", want: map[string]string{"f": "whole"}},
		{name: "it is there", before: "old", atCreate: fs.ErrExist, want: map[string]string{"f": "old"}},
		{name: "it came meanwhile", late: "theirs", atEnd: fs.ErrExist, want: map[string]string{"f": "theirs"}},
		{name: "overwrite", before: "old", overwrite: true, want: map[string]string{"f": "whole"}},
		{name: "overwrite what came meanwhile", late: "theirs", overwrite: true, want: map[string]string{"f": "whole"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "f")
			put := func(text string) {
				if text == "" {
					return
				}
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			put(test.before)
			file, err := Create(path, test.overwrite)
			if !errors.Is(err, test.atCreate) {
				t.Fatalf("Create = %v, want %v", err, test.atCreate)
			}
			if file != nil {
				write(t, file, "half of a try that is given up")
				if err := file.Rewind(); err != nil {
					t.Fatal(err)
				}
				write(t, file, "whole")
				put(test.late)
				if err := file.Commit(); !errors.Is(err, test.atEnd) || (err != nil && !strings.HasPrefix(err.Error(), path+": ")) {
					t.Errorf("Commit = %v, want %v of %s", err, test.atEnd, path)
				}
				file.Discard()
			}
			if diff := cmp.Diff(test.want, contents(t, dir)); diff != "" {
				t.Errorf("the folder (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDiscardLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	file, err := Create(filepath.Join(dir, "f"), false)
	if err != nil {
		t.Fatal(err)
	}
	write(t, file, "half")
	name := filepath.Base(file.Temp())
	if !strings.HasPrefix(name, ".f.") {
		t.Errorf("it is made as %s, want a hidden name", name)
	}
	if diff := cmp.Diff(map[string]string{name: "half"}, contents(t, dir)); diff != "" {
		t.Errorf("before Discard (-want +got):\n%s", diff)
	}
	file.Discard()
	if left := contents(t, dir); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestCreateRefuses(t *testing.T) {
	dir := t.TempDir()
	regular, link := filepath.Join(dir, "f"), filepath.Join(dir, "link")
	if err := errors.Join(os.WriteFile(regular, nil, 0o600), os.Symlink(regular, link)); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{
		"no name": "", "a directory": dir, "a link": link,
		"no such folder": filepath.Join(dir, "no", "f"), "a file as folder": filepath.Join(regular, "f"),
	} {
		if _, err := Create(path, true); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: Create = %v", name, err)
		}
	}
}

// TestNoLinks is a file where no link can be made: the name is reserved instead.
func TestNoLinks(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	file, err := Create(path, false)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Discard()
	write(t, file, "whole")
	if err := os.WriteFile(path, []byte("theirs"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := file.reserve(); !errors.Is(err, fs.ErrExist) {
		t.Errorf("reserve over a file = %v", err)
	}
	if content := contents(t, dir)["f"]; content != "theirs" {
		t.Errorf("it was written over: %q", content)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := file.reserve(); err != nil {
		t.Errorf("reserve = %v", err)
	}
	if diff := cmp.Diff(map[string]string{"f": "whole"}, contents(t, dir)); diff != "" {
		t.Errorf("the folder (-want +got):\n%s", diff)
	}
}
