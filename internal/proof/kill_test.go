package proof

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// TestKill kills a server under load at moments left to chance, while it starts too, and now and then stops it in order. After
// each start it must have what was acknowledged, and no half of anything else.
func TestKill(t *testing.T) {
	t.Parallel()
	r := chance(t)
	croft := binary(t, croft)
	data := filepath.Join(t.TempDir(), "croft.db")
	s := start(t, croft, data)
	l := newLedger()
	token := s.prepare(t)
	clients := s.clients(6, l, token, r, 900)
	people := &people{admin: token, rand: fork(r)}

	starting, stopped, checked := 0, 0, 0
	for kill := range *killsFlag {
		if kill > 0 {
			for r.IntN(5) == 0 {
				if err := killStarting(t, croft, data, r); err != nil {
					t.Fatal(err)
				}
				starting++
			}
			s = start(t, croft, data)
			found := afterCrash(t, s, l, token)
			people.server = s
			if err := people.verify(); err != nil {
				t.Fatalf("after %d kills: %v", kill, err)
			}
			for _, c := range clients {
				c.server = s
				c.relive(found)
			}
		}
		people.server = s
		span := time.Duration(20+r.IntN(500)) * time.Millisecond
		orderly := r.IntN(8) == 0
		if err := loadUntil(s, clients, people, span, orderly); err != nil {
			t.Fatalf("before kill %d: %v\n%s", kill+1, err, s.log.String())
		}
		if orderly {
			stopped++
		}
		if kill%7 == 6 || kill == *killsFlag-1 {
			checked++
			if err := check(croft, data); err != nil {
				t.Fatalf("after %d kills: %v", kill+1, err)
			}
		}
	}
	s = start(t, croft, data)
	afterCrash(t, s, l, token)
	people.server = s
	if err := errors.Join(people.verify(), s.stop(), check(croft, data)); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d ends, %d of them in order; %d kills more while it started; %d writes acknowledged, %d sessions in use, %d accounts asked for; checked %d times besides",
		*killsFlag, stopped, starting, l.acknowledged(), len(people.sessions), people.tried, checked)
}

// killStarting starts a server and kills it before it serves, or as it begins to: it opens the file in some 10 ms.
func killStarting(t *testing.T, croft, data string, r *rand.Rand) error {
	s, err := launch(t, croft, data)
	if err == nil {
		time.Sleep(time.Duration(r.Int64N(int64(40 * time.Millisecond))))
		s.kill()
	}
	return err
}

// loadUntil has everybody write until the server is killed, or stopped in order, after so long.
func loadUntil(s *server, clients []*client, people *people, span time.Duration, orderly bool) (err error) {
	ending := make(chan struct{}) // closed before the server is killed: what fails from then on is no fault
	errs := make([]error, len(clients)+1)
	var wait sync.WaitGroup
	until := func(i int, step func() error) {
		wait.Go(func() {
			for {
				if err := step(); err != nil {
					select {
					case <-ending:
						if errors.Is(err, errNoAnswer) {
							return
						}
					default:
					}
					errs[i] = err
					return
				}
			}
		})
	}
	for i, c := range clients {
		until(i, c.step)
	}
	until(len(clients), people.step)
	time.Sleep(span)
	close(ending)
	if orderly {
		err = s.stop()
	} else {
		s.kill()
	}
	wait.Wait()
	return errors.Join(append(errs, err)...)
}

// afterCrash reads everything, and holds it against the ledger.
func afterCrash(t *testing.T, s *server, l *ledger, token string) []record {
	t.Helper()
	found, err := s.all(token)
	if err != nil {
		t.Fatal(err)
	}
	now := l.now()
	if err := errors.Join(l.compare(found, now, now)...); err != nil {
		t.Fatal(err)
	}
	l.settle(found)
	return found
}

// people sign up, in and out, one after another.
type people struct {
	server *server
	admin  string
	rand   *rand.Rand

	tried    int      // how many accounts were asked for
	made     int      // the number of the last one that was acknowledged
	accounts []string // the ids of those that were
	sessions []string // that were acknowledged
	ended    []string // whose sign-out was
}

// mostSessions is how many are kept in use; the older ones sign out.
const mostSessions = 10

func (p *people) step() error {
	switch {
	case len(p.sessions) > mostSessions:
		leaving := p.sessions[0]
		p.sessions = p.sessions[1:] // without an answer it may have ended or not
		a, err := p.server.do("POST", "/auth/logout", leaving, nil)
		if err != nil {
			return err
		}
		if err := a.wants(http.StatusNoContent); err != nil {
			return fmt.Errorf("sign out: %w", err)
		}
		p.ended = append(p.ended, leaving)
		return nil
	case p.made == 0 || p.rand.IntN(4) == 0:
		p.tried++
		a, err := p.server.do("POST", "/users", p.admin, map[string]string{"email": email(p.tried), "password": password(p.tried)})
		if err != nil {
			return err
		}
		if err := a.wants(http.StatusCreated); err != nil {
			return fmt.Errorf("make an account: %w", err)
		}
		var user struct{ ID string }
		if err := json.Unmarshal(a.body, &user); err != nil {
			return err
		}
		p.made, p.accounts = p.tried, append(p.accounts, user.ID)
		return nil
	default:
		a, err := p.server.do("POST", "/auth/login", "", map[string]string{"email": email(p.made), "password": password(p.made)})
		if err != nil {
			return err
		}
		if err := a.wants(http.StatusOK); err != nil {
			return fmt.Errorf("sign in: %w", err)
		}
		var session struct{ Token string }
		if err := json.Unmarshal(a.body, &session); err != nil {
			return err
		}
		p.sessions = append(p.sessions, session.Token)
		return nil
	}
}

func email(n int) string    { return fmt.Sprintf("person%d@example.com", n) }
func password(n int) string { return fmt.Sprintf("copper-orchard-of-%d", n) }

// verify asks the server who is signed in.
func (p *people) verify() error {
	for _, token := range p.sessions {
		a, err := p.server.do("GET", "/auth/me", token, nil)
		if err = errors.Join(err, a.wants(http.StatusOK)); err != nil {
			return fmt.Errorf("a session that was acknowledged: %w", err)
		}
	}
	for _, token := range p.ended {
		a, err := p.server.do("GET", "/auth/me", token, nil)
		if err = errors.Join(err, a.wants(http.StatusUnauthorized)); err != nil {
			return fmt.Errorf("a session that was signed out: %w", err)
		}
	}
	p.ended = p.ended[max(0, len(p.ended)-mostSessions):]
	for _, id := range p.accounts {
		if err := p.server.get("/users/"+id, p.admin, &struct{}{}); err != nil {
			return fmt.Errorf("an account that was acknowledged: %w", err)
		}
	}
	p.accounts = p.accounts[max(0, len(p.accounts)-mostSessions):]
	return nil
}
