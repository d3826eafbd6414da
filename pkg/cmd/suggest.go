package cmd

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// flagError is a usage error; for a flag that is not there it names the nearest one that is,
// as cobra does for commands.
func flagError(c *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) || len(unknown.GetSpecifiedName()) < 2 {
		return &usageError{err}
	}
	name, near, best := unknown.GetSpecifiedName(), "", 3
	c.Flags().VisitAll(func(f *pflag.Flag) {
		distance := editDistance(name, f.Name)
		if distance >= len(name) { // no letter is the same
			distance = best
		}
		if strings.HasPrefix(f.Name, name) {
			distance = min(distance, 2)
		}
		if distance < best {
			near, best = f.Name, distance
		}
	})
	if near != "" {
		err = fmt.Errorf("%w; did you mean --%s?", err, near)
	}
	return &usageError{err}
}

// editDistance is how many letters are to be put in, taken out or changed (Levenshtein).
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, diagonal+1, row[j]+1)
		}
	}
	return row[len(b)]
}
