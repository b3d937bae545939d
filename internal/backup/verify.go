package backup

import "context"

// VerifyHere verifies a file in this process.
func VerifyHere(ctx context.Context, path string) error {
	r, err := CheckFile(ctx, path, nil)
	if err != nil {
		return err
	}
	return r.Err()
}
