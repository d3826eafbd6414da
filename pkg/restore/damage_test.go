package restore

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"io/fs"
	"math/rand"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// bucketWriter is the bucket "key" of a snapshot that a test changes.
type bucketWriter = *bolt.Bucket

// rewrite changes the records of a snapshot file and seals it again.
func rewrite(t *testing.T, path string, change func(bucketWriter) error) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, info.Size()-sealSize); err != nil {
		t.Fatal(err)
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{NoFreelistSync: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(func(tx *bolt.Tx) error { return change(tx.Bucket([]byte(keyBucket))) }); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, sealed(data))
}

// sealed appends the sha256.
func sealed(data []byte) []byte {
	sum := sha256.Sum256(data)
	return append(bytes.Clone(data), sum[:]...)
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// databaseOf is the bytes of a database that fill filled.
func databaseOf(t testing.TB, options *bolt.Options, fill func(*bolt.Tx) error) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "db")
	db, err := bolt.Open(path, 0o600, options)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(fill), db.Close()); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// sample is a snapshot with several levels of pages and a large value, and its bytes.
func sample(t testing.TB) []byte {
	t.Helper()
	return databaseOf(t, &bolt.Options{PageSize: 1024}, func(tx *bolt.Tx) error {
		for _, name := range []string{alarmBucket, clusterBucket, memberBucket, metaBucket} {
			if _, err := tx.CreateBucket([]byte(name)); err != nil {
				return err
			}
		}
		b, err := tx.CreateBucket([]byte(keyBucket))
		for i := range int64(300) {
			value := []byte{0x0a, 3, 'k', byte('a' + i%20), byte('a' + i/20), 0x2a, 4, 1, 2, 3, 4}
			if err == nil {
				err = b.Put(revisionBytes(i+2), value)
			}
		}
		if err != nil {
			return err
		}
		return b.Put(revisionBytes(302), append([]byte{0x0a, 1, 'k', 0x2a, 0xd0, 0x0f}, make([]byte, 2000)...))
	})
}

func TestOpenRefuses(t *testing.T) {
	s := startSource(t)
	s.work(t, "a", 20)
	good, err := os.ReadFile(s.save(t))
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(good)
	flipped[len(flipped)/2] ^= 1
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := z.Write(good); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	random := make([]byte, 9000)
	rand.New(rand.NewSource(1)).Read(random)
	live := filepath.Join(s.etcd.Config().Dir, "member", "snap", "db")
	s.stop()
	copied, err := os.ReadFile(live)
	if err != nil {
		t.Fatal(err)
	}

	for _, tc := range []struct {
		name string
		data []byte
		want error
		text string
	}{
		{"empty", nil, ErrNotSnapshot, "empty"},
		{"text", []byte(strings.Repeat("apiVersion: v1\n", 99)), ErrNotSnapshot, "text"},
		{"random", random, ErrNotSnapshot, "does not begin"},
		{"zeros", make([]byte, 8192+32), ErrNotSnapshot, "does not begin"},
		{"gzip", zipped.Bytes(), ErrNotSnapshot, "gzip"},
		{"one flipped bit", flipped, ErrDamaged, "sha256"},
		{"one byte short", good[:len(good)-1], ErrDamaged, "bytes"},
		{"one byte long", append(bytes.Clone(good), 0), ErrDamaged, "bytes"},
		{"cut in the middle", good[:len(good)/2], ErrDamaged, "cut off"},
		{"cut at a page", good[:(len(good)/2)&^4095], ErrDamaged, "cut off"},
		{"sha256 lost", good[:len(good)-sealSize], ErrNoChecksum, "no sha256"},
		{"db of a data directory", copied, ErrNoChecksum, "no sha256"},
		{"another bbolt database", sealed(foreign(t)), ErrNotSnapshot, "something else"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "file")
			write(t, path, tc.data)
			_, err := Open(t.Context(), path)
			if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("error is %v, want %v with %q", err, tc.want, tc.text)
			}
			if errors.Is(err, ErrNoChecksum) && !errors.Is(err, ErrNotSnapshot) {
				t.Error("a file without its sha256 does not count as ErrNotSnapshot")
			}
		})
	}
	if _, err := Open(t.Context(), filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	if _, err := Open(t.Context(), t.TempDir()); !errors.Is(err, ErrNotSnapshot) {
		t.Errorf("directory: %v", err)
	}
}

func foreign(t *testing.T) []byte {
	t.Helper()
	return databaseOf(t, nil, func(tx *bolt.Tx) error {
		b, err := tx.CreateBucket([]byte("containers"))
		if err == nil {
			_, err = b.CreateBucket([]byte("nested"))
		}
		return err
	})
}

// Whatever is cut off or flipped in a snapshot is found.
func TestOpenFindsEveryDamage(t *testing.T) {
	s := startSource(t)
	s.work(t, "a", 40)
	good, err := os.ReadFile(s.save(t))
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewSource(2))
	for range 300 {
		cut := good[:r.Intn(len(good))]
		if err := readBytes(t, cut); err == nil || notDamage(err) {
			t.Errorf("cut to %d of %d bytes: %v", len(cut), len(good), err)
		}
		flipped, at := bytes.Clone(good), r.Intn(len(good))
		flipped[at] ^= 1 << r.Intn(8)
		if err := readBytes(t, flipped); err == nil || notDamage(err) {
			t.Errorf("byte %d of %d flipped: %v", at, len(good), err)
		}
	}
}

func readBytes(t *testing.T, data []byte) error {
	t.Helper()
	_, err := read(t.Context(), bytes.NewReader(data), int64(len(data)), checkSHA256)
	return err
}

// With the sha256 made to fit, damage in pages may go unseen where only values changed,
// but never faults or runs without end: neither here nor in bbolt behind it.
func TestOpenSurvivesDamagedPages(t *testing.T) {
	good := sample(t)
	dir, r := t.TempDir(), rand.New(rand.NewSource(3))
	found := 0
	for i := range 1500 {
		data := bytes.Clone(good)
		for range 1 + i%3 {
			page := r.Intn(len(data)/1024) * 1024
			data[page+r.Intn(pageHeaderSize+i%1008)] = byte(r.Intn(256))
		}
		if err := readBytes(t, sealed(data)); err != nil {
			found++
			if notDamage(err) {
				t.Fatalf("try %d: %v", i, err)
			}
			continue
		}
		path := filepath.Join(dir, strconv.Itoa(i))
		write(t, path, data)
		if err := boltReads(path); err != nil {
			t.Fatalf("try %d: accepted, but bbolt says %v", i, err)
		}
	}
	if found < 150 || found > 1450 {
		t.Errorf("%d of 1500 were found: the test does not reach both sides", found)
	}
}

// boltReads lets bbolt check a file that Open has accepted. Its check knows one thing
// more: pages that are lost, neither used nor free, which does no harm.
func boltReads(path string) error {
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	var errs []error
	err = db.View(func(tx *bolt.Tx) error {
		for err := range tx.Check() {
			if !strings.Contains(err.Error(), "unreachable unfreed") {
				errs = append(errs, err)
			}
		}
		return nil
	})
	return errors.Join(append(errs, err, db.Close())...)
}

func FuzzOpen(f *testing.F) {
	good := sample(f)
	f.Add(uint32(1024+10), []byte{0xff, 0xff})
	f.Add(uint32(2*1024), []byte{1, 0, 0, 0})
	f.Add(uint32(0), good[:64])
	f.Fuzz(func(t *testing.T, at uint32, patch []byte) {
		data := bytes.Clone(good)
		copy(data[int(at)%len(data):], patch)
		if err := readBytes(t, sealed(data)); err != nil && notDamage(err) {
			t.Error(err)
		}
	})
}
