// Package all is the only list of the formats that abide reads. It must hold
// nothing else.
package all

import (
	"github.com/abide-project/abide/internal/format"
	"github.com/abide-project/abide/internal/format/native"
	"github.com/abide-project/abide/internal/format/procfile"
)

// Formats are all readers, the one asked first in front.
var Formats = []format.Format{native.Format{}, procfile.Format{}}
