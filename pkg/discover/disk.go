package discover

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// disk is a node's file system: "/", or where it is mounted. Paths go in as the node
// has them and come out as this process opens them.
type disk struct{ root string }

// errNoFile: it is a directory, a pipe, a socket or a device.
var errNoFile = errors.New("it is no regular file")

// maxLinks bounds the symbolic links of one path, as Linux does (path_resolution(7)).
const maxLinks = 40

// at is where the node's path name lies. Symbolic links are followed inside the root,
// as the node itself would: a link to /data of a mounted disk means that disk's /data.
func (d disk) at(name string) string {
	if filepath.Clean(d.root) == string(filepath.Separator) {
		return filepath.Clean(name)
	}
	return filepath.Join(d.root, d.resolve(name))
}

// resolve is name without symbolic links, as far as it exists.
func (d disk) resolve(name string) string {
	rest, resolved := strings.Split(filepath.ToSlash(name), "/"), "/"
	for links := 0; len(rest) > 0; {
		next := filepath.Join(resolved, rest[0])
		rest = rest[1:]
		if next == "/" { // the root's own links are this process's
			resolved = next
			continue
		}
		target, err := os.Readlink(filepath.Join(d.root, next))
		if err != nil || links == maxLinks {
			resolved = next
			continue
		}
		links++
		if filepath.IsAbs(target) {
			resolved = "/"
		}
		rest = append(strings.Split(filepath.ToSlash(target), "/"), rest...)
	}
	return resolved
}

// read reads a whole file of the node; a pipe's other end might never come.
func (d disk) read(name string) ([]byte, error) {
	name = d.at(name)
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("read %w", bareOp(err))
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read %s: %w", name, errNoFile)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read %w", bareOp(err))
	}
	return data, nil
}

// bareOp leaves "path: reason" of a file error: the caller says what was done.
func bareOp(err error) error {
	var file *fs.PathError
	if errors.As(err, &file) {
		return fmt.Errorf("%s: %w", file.Path, file.Err)
	}
	return err
}

// exists is false as well for what may not be looked at.
func (d disk) exists(name string) bool {
	_, err := os.Stat(d.at(name))
	return err == nil
}

func (d disk) isDir(name string) bool {
	info, err := os.Stat(d.at(name))
	return err == nil && info.IsDir()
}

// glob are the node's paths that match in their last element, in order.
func (d disk) glob(pattern string) []string {
	dir, base := filepath.Split(pattern)
	entries, err := os.ReadDir(d.at(dir))
	if err != nil {
		return nil // as what is not there
	}
	var found []string
	for _, entry := range entries {
		matches, err := filepath.Match(base, entry.Name())
		if err != nil {
			panic("discover: internal error: bad pattern " + pattern)
		}
		if matches {
			found = append(found, filepath.Join(dir, entry.Name()))
		}
	}
	return found
}

// hostPath is where a path of container lies on its node, by the volumes that are
// mounted from there. What is not is taken for the same on both sides: beside what is
// mounted lies what is not.
func hostPath(pod *corev1.Pod, container *corev1.Container, name string) string {
	best, found := -1, name
	for _, mount := range container.VolumeMounts {
		inside, ok := below(mount.MountPath, name)
		volume := volumeOf(pod, mount.Name)
		if !ok || volume == nil || volume.HostPath == nil || len(mount.MountPath) <= best {
			continue
		}
		best, found = len(mount.MountPath), filepath.Join(volume.HostPath.Path, mount.SubPath, inside)
	}
	return found
}
