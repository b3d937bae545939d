//go:build linux && (amd64 || arm64)

package backup_test

import "croft/internal/store/faultfs"

func init() { serveFaults = faultfs.ServeIfChild }
