package proof

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"croft/internal/app/apptest"
)

// TestClock sets the clock ahead and back by an hour, while the server runs and between its starts. What has an order keeps it,
// those who are signed in stay so, nobody is locked out for longer, and the schedule of backups neither stops nor storms.
func TestClock(t *testing.T) {
	data := filepath.Join(t.TempDir(), "croft.db")
	real := time.Now()
	var offset atomic.Int64
	clock := apptest.Clock(func() time.Time { return time.Now().Round(0).Add(time.Duration(offset.Load())) })

	s := apptest.StartAt(t, data, clock)
	admin := s.Client().Do("POST", "/api/v1/setup", map[string]string{"token": s.SetupToken, "email": adminEmail, "password": adminPassword}).
		Want(t, http.StatusOK).String("token")
	s.As(admin).Do("PATCH", "/api/v1/settings", `{"backup":{"every":"24h"}}`).Want(t, http.StatusOK)
	s.As(admin).Do("PUT", "/api/v1/collections/notes", `{"indexes":[{"name":"by_created","fields":["created"]}],"access":{"read":"true"}}`).
		Want(t, http.StatusCreated)
	s.As(admin).Do("POST", "/api/v1/users", map[string]string{"email": "grace@example.com", "password": "copper-orchard-902"}).
		Want(t, http.StatusCreated)

	sessions := []string{admin}
	var made []record
	rev := ""
	newer := func(r record) {
		t.Helper()
		if r.Rev <= rev {
			t.Errorf("rev %s after %s", r.Rev, rev)
		}
		rev = r.Rev
	}
	near := func(text string) {
		t.Helper()
		at, err := time.Parse("2006-01-02T15:04:05.000Z", text)
		want := real.Add(time.Duration(offset.Load()))
		if err != nil || at.Before(want.Add(-time.Second)) || at.After(want.Add(patience)) {
			t.Errorf("the time of a record is %s, the clock says %s or a little more", text, want.UTC())
		}
	}
	for round, hours := range []int{0, 1, 0, -1, 1, -1, 0} {
		offset.Store(int64(time.Duration(hours) * time.Hour))
		if round%2 == 1 { // it is set while the server is stopped
			if err := s.Stop(); err != nil {
				t.Fatal(err)
			}
			s = apptest.StartAt(t, data, clock)
		}
		for _, token := range sessions {
			s.As(token).Do("GET", "/api/v1/auth/me", nil).Want(t, http.StatusOK)
		}
		sessions = append(sessions, s.Login(adminEmail, adminPassword))

		for i := range 3 {
			var r record
			s.As(admin).Do("POST", "/api/v1/records/notes", fmt.Sprintf(`{"n":%d}`, round*10+i)).Want(t, http.StatusCreated).JSON(&r)
			newer(r)
			near(r.Created)
			if r.Updated != r.Created {
				t.Errorf("a new record: %+v", r)
			}
			made = append(made, r)
		}
		var first record
		s.As(admin).Do("PATCH", "/api/v1/records/notes/"+made[0].ID, fmt.Sprintf(`{"group":%d}`, round)).Want(t, http.StatusOK).JSON(&first)
		newer(first)
		near(first.Updated)
		if first.Created != made[0].Created {
			t.Errorf("created was %s and is %s", made[0].Created, first.Created)
		}

		// The newest come first by their ids, and by the time that the clock said.
		byID, byTime := ids(t, s, ""), ids(t, s, "&sort=-created")
		want := slices.Clone(made)
		slices.Reverse(want)
		if !slices.EqualFunc(byID, want, func(id string, r record) bool { return id == r.ID }) {
			t.Errorf("after %d hours the newest are not the first: %v", hours, byID)
		}
		slices.SortFunc(want, func(a, b record) int {
			return -slices.Compare([]string{a.Created, a.ID}, []string{b.Created, b.ID})
		})
		if len(byTime) != len(want) || byTime[0] != want[0].ID || byTime[len(byTime)-1] != want[len(want)-1].ID {
			t.Errorf("after %d hours the order of the times is not right: %v", hours, byTime)
		}
	}

	// Whoever has failed to sign in waits for minutes at most, whatever happens to the clock.
	offset.Store(int64(time.Hour))
	wrong := map[string]string{"email": "grace@example.com", "password": "not-the-right-one"}
	throttled := false
	for range 10 {
		throttled = throttled || s.Client().Do("POST", "/api/v1/auth/login", wrong).Status == http.StatusTooManyRequests
	}
	if !throttled {
		t.Error("ten wrong passwords were not throttled")
	}
	offset.Store(0)
	right := map[string]string{"email": "grace@example.com", "password": "copper-orchard-902"}
	if r := s.Client().Do("POST", "/api/v1/auth/login", right); r.Status != http.StatusOK {
		wait, err := strconv.Atoi(r.Header.Get("Retry-After"))
		if r.Status != http.StatusTooManyRequests || err != nil || wait > 300 {
			t.Errorf("after the clock was set back by an hour, a sign-in is told to wait for %q seconds: %d %s", r.Header.Get("Retry-After"), r.Status, r.Body)
		}
		offset.Store(int64(time.Duration(wait) * time.Second))
		s.Client().Do("POST", "/api/v1/auth/login", right).Want(t, http.StatusOK)
	}

	// One backup a day: an hour ahead makes none due. A start on a clock that was set back can't trust a time that is yet to come.
	backups := 0
	for deadline := time.Now().Add(patience); backups == 0 && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		var list struct{ Items []struct{ Check string } }
		s.As(admin).Do("GET", "/api/v1/backups", nil).Want(t, http.StatusOK).JSON(&list)
		backups = len(list.Items)
	}
	if backups == 0 || backups > 3 {
		t.Errorf("%d backups of one day", backups)
	}
	t.Logf("%d backups", backups)
}

// ids are those of the collection's list.
func ids(t *testing.T, s *apptest.Server, query string) []string {
	t.Helper()
	var page struct{ Items []struct{ ID string } }
	s.Client().Do("GET", "/api/v1/records/notes?limit=500&fields=id"+query, nil).Want(t, http.StatusOK).JSON(&page)
	var all []string
	for _, item := range page.Items {
		all = append(all, item.ID)
	}
	return all
}
