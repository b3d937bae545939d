package backup

import (
	"io/fs"
	"os"
)

// keepOwner does nothing: a file's rights come from its folder here.
func keepOwner(*os.File, fs.FileInfo) error { return nil }
