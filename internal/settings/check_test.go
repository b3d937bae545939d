package settings_test

import (
	"context"
	"path/filepath"
	"slices"
	"testing"

	"croft/internal/settings"
	"croft/internal/store"
)

func TestCheck(t *testing.T) {
	s, db := open(t, filepath.Join(t.TempDir(), "croft.db"))
	check := func() (faults []string) {
		t.Helper()
		err := db.View(func(tx *store.Tx) error {
			return settings.Check(tx, func(where, what string) { faults = append(faults, where+": "+what) })
		})
		if err != nil {
			t.Fatal(err)
		}
		return faults
	}
	if faults := check(); faults != nil {
		t.Errorf("a new file: %q", faults)
	}
	if _, err := s.Patch(context.Background(), admin, []byte(`{"signup":"open","cors_origins":["https://a.example"],"host_names":["b.example"]}`)); err != nil {
		t.Fatal(err)
	}
	if faults := check(); faults != nil {
		t.Errorf("settings as they were made: %q", faults)
	}
	for _, test := range []struct {
		key, value string
		want       []string
	}{
		{"values", `{"signup":"closed","host_names":["ok","a b"]}`, []string{
			`setting /signup: must be "invite" (only with an invite) or "open" (everyone)`,
			"setting /host_names/1: must be a host name, such as croft.example.org; it may have letters, digits, - and dots",
		}},
		{"values", `secret`, []string{"settings: they can't be read"}},
		{"other", `{}`, []string{"settings: there is an entry of a kind that Croft doesn't write"}},
	} {
		err := db.Update(context.Background(), func(tx *store.Tx) error {
			for _, name := range []string{"values", "other"} {
				if err := tx.Delete(store.Settings.Key([]byte(name))); err != nil {
					return err
				}
			}
			return tx.Put(store.Settings.Key([]byte(test.key)), []byte(test.value))
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := check(); !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", test.value, got, test.want)
		}
	}
}
