package backup

import (
	"errors"
	"os"
)

// DieAt has the process end at a step of a swap, as if it were killed.
func DieAt(step string) {
	atStep = func(s string) {
		if s == step {
			os.Exit(9)
		}
	}
}

// At has f called at a step of a restore, until undo is called.
func At(step string, f func()) (undo func()) {
	was := atStep
	atStep = func(s string) {
		if s == step {
			f()
		}
	}
	return func() { atStep = was }
}

// WithoutLinks makes this a system whose disks have no links, until undo is called.
func WithoutLinks() (undo func()) {
	link = func(string, string) error { return errors.ErrUnsupported }
	return func() { link = os.Link }
}
