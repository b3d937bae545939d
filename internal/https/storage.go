package https

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"

	"croft/internal/store"
)

// Storage is certmagic's storage in the data file. Its locks are of this process alone: no other one has the file open.
type Storage struct {
	db *store.DB

	mu    sync.Mutex
	locks map[string]chan struct{} // closed when the lock is let go of
}

var (
	_ certmagic.Storage   = (*Storage)(nil)
	_ certmagic.TryLocker = (*Storage)(nil)
)

// NewStorage returns the storage in a data file.
func NewStorage(db *store.DB) *Storage { return &Storage{db: db, locks: map[string]chan struct{}{}} }

// String tells nothing: certmagic logs it.
func (s *Storage) String() string { return "the data file" }

// stampLen is how long the time in front of a value is.
const stampLen = 8

// Store writes a value.
func (s *Storage) Store(ctx context.Context, key string, value []byte) error {
	sealed := binary.BigEndian.AppendUint64(make([]byte, 0, stampLen+len(value)), uint64(max(0, time.Now().UnixMilli())))
	return put(ctx, s.db, keyOf(kindStored, clean(key)), append(sealed, value...))
}

// Load returns a value; fs.ErrNotExist says that there is none.
func (s *Storage) Load(ctx context.Context, key string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	value, err := get(s.db, keyOf(kindStored, clean(key)))
	switch {
	case err != nil:
		return nil, err
	case value == nil:
		return nil, missing(key)
	case len(value) < stampLen:
		return nil, fmt.Errorf("%s: %w", key, store.ErrDamaged)
	}
	return value[stampLen:], nil
}

// Delete deletes a key, and all below it.
func (s *Storage) Delete(ctx context.Context, key string) error {
	return s.db.Reclaim(ctx, func(tx *store.Tx) error {
		var doomed [][]byte
		err := below(tx, key, func(_ string, k, _ []byte) bool {
			doomed = append(doomed, bytes.Clone(k))
			return true
		})
		if err != nil {
			return err
		}
		for _, k := range doomed {
			if err := tx.Delete(k); err != nil {
				return err
			}
		}
		return nil
	})
}

// Exists reports whether there is such a key, or one below it.
func (s *Storage) Exists(ctx context.Context, key string) bool {
	_, err := s.Stat(ctx, key)
	return err == nil
}

// List returns the keys below a path, with the folders among them: those right below it, or all.
func (s *Storage) List(ctx context.Context, prefix string, recursive bool) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var keys []string
	seen := map[string]bool{} // folders
	err := s.db.View(func(tx *store.Tx) error {
		return below(tx, prefix, func(rest string, _, _ []byte) bool {
			for i := 0; i < len(rest); i++ {
				if rest[i] != '/' {
					continue
				}
				if folder := path.Join(prefix, rest[:i]); !seen[folder] {
					seen[folder] = true
					keys = append(keys, folder)
				}
				if !recursive {
					return true
				}
			}
			if rest != "" {
				keys = append(keys, path.Join(prefix, rest))
			}
			return true
		})
	})
	if err == nil && keys == nil && !s.Exists(ctx, prefix) {
		err = missing(prefix)
	}
	return keys, err
}

// Stat tells of a key, or of a folder.
func (s *Storage) Stat(ctx context.Context, key string) (certmagic.KeyInfo, error) {
	if err := ctx.Err(); err != nil {
		return certmagic.KeyInfo{}, err
	}
	found := false
	info := certmagic.KeyInfo{Key: key}
	err := s.db.View(func(tx *store.Tx) error {
		return below(tx, key, func(rest string, _, value []byte) bool {
			found = true
			if rest == "" && len(value) >= stampLen {
				info.IsTerminal, info.Size = true, int64(len(value)-stampLen)
				info.Modified = time.UnixMilli(int64(binary.BigEndian.Uint64(value)))
			}
			return false
		})
	})
	if err == nil && !found {
		err = missing(key)
	}
	return info, err
}

// Lock waits for a lock.
func (s *Storage) Lock(ctx context.Context, name string) error {
	for {
		held := s.take(name)
		if held == nil {
			return nil
		}
		select {
		case <-held:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// TryLock takes a lock if nobody has it.
func (s *Storage) TryLock(ctx context.Context, name string) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	return s.take(name) == nil, nil
}

// Unlock lets go of a lock.
func (s *Storage) Unlock(_ context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	held, ok := s.locks[name]
	if !ok {
		return errors.New("unlock " + name + ": it isn't locked")
	}
	delete(s.locks, name)
	close(held)
	return nil
}

// take takes a lock, or returns what is closed when who has it lets go.
func (s *Storage) take(name string) (held chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if held, ok := s.locks[name]; ok {
		return held
	}
	s.locks[name] = make(chan struct{})
	return nil
}

// below calls f with a key, whose rest is "", and with those below it, whose rest is what stands behind its slash. f returns whether to go on.
func below(tx *store.Tx, key string, f func(rest string, k, value []byte) bool) error {
	key = clean(key)
	prefix := keyOf(kindStored, "")
	if key != "" {
		own := keyOf(kindStored, key)
		value, err := tx.Get(own)
		if err != nil {
			return err
		}
		if value != nil && !f("", own, value) {
			return nil
		}
		prefix = append(own, '/')
	}
	c := tx.Scan(store.Prefix(prefix))
	for c.Next() {
		if !f(string(c.Key()[len(prefix):]), c.Key(), c.Value()) {
			return nil
		}
	}
	return c.Err()
}

// clean takes off slashes around a key: none of certmagic's have any, but "" and "/" are both the top.
func clean(key string) string { return strings.Trim(key, "/") }

func missing(key string) error { return fmt.Errorf("%s: %w", key, fs.ErrNotExist) }
