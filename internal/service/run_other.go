//go:build !windows

package service

func underWindows() bool { return false }

func logToFile() error { return nil }
