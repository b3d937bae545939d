package service

import (
	"errors"
	"strings"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc/mgr"
)

// registeredOwner says whose the service is, by the program that it runs.
func registeredOwner() (owner Owner, err error) {
	m, err := mgr.Connect()
	if err != nil {
		return Nobody, err
	}
	defer func() { err = errors.Join(err, m.Disconnect()) }()
	s, err := m.OpenService(Name)
	if errors.Is(err, windows.ERROR_SERVICE_DOES_NOT_EXIST) {
		return Nobody, nil
	}
	if err != nil {
		return Nobody, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	c, err := s.Config()
	if err != nil {
		return Nobody, err
	}
	if strings.Contains(strings.ToLower(c.BinaryPathName), strings.ToLower(System().Binary)) {
		return Ours, nil
	}
	return Foreign, nil
}
