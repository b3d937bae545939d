//go:build !linux

package service

import "context"

// ensureUser makes no user: the service runs as one that the system brings.
func ensureUser(context.Context, string, string) (made bool, err error) { return false, nil }

func removeUser(context.Context, string, string) error { return nil }

// runs can't be told here, so it is believed.
func runs(int, string) bool { return true }
