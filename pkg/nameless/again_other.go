//go:build !unix

package nameless

import "os"

// Again is another handle of an open file, for what closes the one that it is given.
func Again(file *os.File) (*os.File, error) { return os.OpenFile(file.Name(), os.O_RDWR, 0) }
