package api_test

import (
	"sync/atomic"
	"testing"
	"time"

	"croft/internal/app/apptest"
)

// Tokens end at their time, and say so in the same words as one that never was.
func TestExpiredTokens(t *testing.T) {
	var ahead atomic.Int64
	start := time.Date(2026, 11, 20, 9, 30, 0, 0, time.UTC)
	s := apptest.Start(t, apptest.Clock(func() time.Time { return start.Add(time.Duration(ahead.Load())) }))
	s.Define("notes", open)
	user := s.NewUser("alice@example.com")
	token := s.As(user.Do("POST", "/api/v1/auth/tokens",
		`{"name":"t","scopes":[{"collection":"*","actions":["read"]}],"expires":"2026-11-20T10:30:00Z"}`).Want(t, 201).String("token"))
	token.Do("GET", "/api/v1/records/notes", nil).Want(t, 200)
	ahead.Store(int64(time.Hour + time.Second))
	if code := token.Do("GET", "/api/v1/records/notes", nil).Want(t, 401).Code(); code != "unauthenticated" {
		t.Errorf("an expired API token: %s", code)
	}
	user.Do("GET", "/api/v1/auth/me", nil).Want(t, 200)
	ahead.Store(int64(400 * 24 * time.Hour))
	if code := user.Do("GET", "/api/v1/auth/me", nil).Want(t, 401).Code(); code != "unauthenticated" {
		t.Errorf("an expired session: %s", code)
	}
}
