package backup

import (
	"context"

	"croft/internal/store"
)

// VerifyWhole verifies that a file has each entry of one commit, as it was written: its pages, the checksum of each entry, and the digest of
// all. That is what a backup can get wrong. It is as fast as the file is read, and safe on any file.
func VerifyWhole(ctx context.Context, path string) error {
	return verify(ctx, path, store.CheckOptions{})
}

// VerifyGently is VerifyWhole for a time at which others need the disk. It takes longer.
func VerifyGently(ctx context.Context, path string) error {
	return verify(ctx, path, store.CheckOptions{Gentle: true})
}

func verify(ctx context.Context, path string, o store.CheckOptions) error {
	r, err := store.CheckFile(ctx, path, o)
	if err != nil {
		return err
	}
	return r.Err()
}

// VerifyHere verifies in this process all that croft check does: also how what stands in the file fits together.
func VerifyHere(ctx context.Context, path string) error {
	r, err := CheckFile(ctx, path, nil)
	if err != nil {
		return err
	}
	return r.Err()
}
