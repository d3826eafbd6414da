// Package docs holds the texts that are both files for reading and part of the program.
package docs

import _ "embed"

// Recovery is the way from one surviving member back to three.
//
//go:embed recovery.md
var Recovery string
