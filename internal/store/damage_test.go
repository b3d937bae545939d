package store_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"croft/internal/store"
	"croft/internal/store/pages"
)

// The file that is damaged: versions of the same keys, so that old pages stand in it which look like good ones. The
// last version but one is what the file holds when its last commit's page is lost.
const (
	versions    = 5
	damagedKeys = 200
)

// states are those after each commit.
var states = func() (states []map[string]string) {
	for v := range versions + 1 {
		states = append(states, version(v))
	}
	return states
}()

func version(v int) map[string]string {
	state := map[string]string{}
	for i := range damagedKeys {
		switch {
		case i%7 == v: // not there in this version
		case i%3 == 0 && v > 2: // as it was
			state[fmt.Sprintf("%05d", i)] = fmt.Sprintf("%05d/2", i)
		default:
			state[fmt.Sprintf("%05d", i)] = fmt.Sprintf("%05d/%d", i, v)
		}
	}
	return state
}

// makeVersions returns how much of the file is used.
func makeVersions(t *testing.T, path string) int64 {
	db, err := store.Open(path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for v := 1; v <= versions; v++ {
		state := states[v]
		update(t, db, func(tx *store.Tx) error {
			for i := range damagedKeys {
				name := fmt.Sprintf("%05d", i)
				err := tx.Delete(key(name))
				if value, ok := state[name]; ok {
					err = tx.Put(key(name), []byte(value))
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	used := db.Stats().Bytes
	if err := errors.Join(db.Check(), db.Close()); err != nil {
		t.Fatal(err)
	}
	return used
}

// What reading a damaged file came to.
const (
	refused  = "refused"  // by Open
	failed   = "failed"   // a read did, and no other read said anything false
	unharmed = "unharmed" // all is there
	earlier  = "earlier"  // all of the commit before
	found    = "found"    // a read said that a key is missing, or gave an older value of it: Check tells
	crashed  = "crashed"  // the process: bbolt followed a loop
	wrong    = "WRONG"
)

// readDamaged reads everything in every way.
func readDamaged(path string) (outcome string) {
	db, err := store.Open(path, store.Options{LockTimeout: 10 * time.Second})
	if err != nil {
		return refused
	}
	defer func() {
		if err := db.Close(); err != nil && outcome != wrong {
			outcome = failed
		}
	}()
	want, before := states[versions], states[versions-1]
	differs, differsBefore, fails, invented := false, false, false, false
	see := func(name, value string, ok bool) {
		w, there := want[name]
		differs = differs || ok != there || value != w
		w, there = before[name]
		differsBefore = differsBefore || ok != there || value != w
		if ok {
			known := false
			for _, state := range states {
				known = known || state[name] == value
			}
			invented = invented || !known
		}
	}
	err = db.View(func(tx *store.Tx) error {
		for i := range damagedKeys {
			name := fmt.Sprintf("%05d", i)
			value, err := tx.Get(key(name))
			if err != nil {
				fails = true
				continue
			}
			see(name, string(value), value != nil)
		}
		for _, reverse := range []bool{false, true} {
			r := store.Prefix(store.Records.Key())
			r.Reverse = reverse
			all := map[string]string{}
			c := tx.Scan(r)
			for c.Next() {
				all[string(c.Key()[1:])] = string(c.Value())
			}
			if c.Err() != nil {
				fails = true
			}
			for i := range damagedKeys {
				name := fmt.Sprintf("%05d", i)
				value, ok := all[name]
				if ok || c.Err() == nil {
					see(name, value, ok)
				}
			}
		}
		return nil
	})
	fails = fails || err != nil
	switch {
	case invented:
		return wrong
	case !differs && fails:
		return failed
	case !differs:
		return unharmed
	}
	switch err := db.Check(); {
	case err != nil && !errors.Is(err, store.ErrDamaged):
		return wrong
	case err != nil:
		return found
	case !differsBefore:
		return earlier
	default:
		return wrong
	}
}

// roleFlip damages a file at places that it reads from its input, one after another, and tells what reading it came to.
func roleFlip(args []string) error {
	debug.SetMaxStack(16 << 20) // a loop in the tree ends soon
	f, err := os.OpenFile(args[0], os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		at, err := strconv.ParseInt(lines.Text(), 10, 64)
		if err != nil {
			return err
		}
		good := make([]byte, 1)
		if _, err := f.ReadAt(good, at); err != nil {
			return err
		}
		// One bit or all of them.
		bad := []byte{good[0] ^ []byte{0x01, 0x80, 0xff, 0x10}[at%4]}
		if _, err := f.WriteAt(bad, at); err != nil {
			return err
		}
		fmt.Println(readDamaged(args[0]))
		if _, err := f.WriteAt(good, at); err != nil {
			return err
		}
	}
	return nil
}

// places are the bytes to damage: all of both meta pages' contents, all at the beginning of each page, where
// its header and the places of its entries are, and some of the rest.
func places(size int) []int {
	page := os.Getpagesize()
	var at []int
	for i := range size {
		in := i % page
		if in < 80 || i%61 == 0 {
			at = append(at, i)
		}
	}
	return at
}

func TestFlippedByte(t *testing.T) {
	path := filepath.Join(t.TempDir(), "croft.db")
	used := makeVersions(t, path)
	content := readFile(t, path)
	meta := 0 // the page of the last commit
	page := os.Getpagesize()
	if bytes.Compare(reversed(content[store.MetaTxid:][:8]), reversed(content[page+store.MetaTxid:][:8])) < 0 {
		meta = page
	}
	outcomes := map[string]int{}
	for todo := places(int(used)); len(todo) > 0; {
		// A process that crashes is followed by another one, on a good copy.
		writeFile(t, path, content)
		cmd := child(t, "flip", path)
		in, _ := cmd.StdinPipe()
		out, _ := cmd.StdoutPipe()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for len(todo) > 0 {
			at := todo[0]
			todo = todo[1:]
			hangs := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
			fmt.Fprintln(in, at)
			outcome := crashed
			if lines.Scan() {
				outcome = lines.Text()
			}
			hangs.Stop()
			outcomes[outcome]++
			switch {
			case outcome == earlier && at/page*page != meta:
				t.Errorf("byte %d: the last commit is missing", at)
			case outcome == wrong:
				t.Errorf("byte %d (page %d, %d): what was read is wrong, and no check tells", at, at/page, at%page)
			}
			if outcome == crashed {
				break
			}
		}
		in.Close()
		if err := cmd.Wait(); err != nil && outcomes[crashed] == 0 {
			t.Fatalf("%v: %s", err, cmd.Stderr)
		}
	}
	t.Log(outcomes)
	for _, outcome := range []string{refused, failed, unharmed} {
		if outcomes[outcome] == 0 {
			t.Errorf("no damage was %s", outcome)
		}
	}
}

// reversed makes a little-endian number comparable.
func reversed(b []byte) []byte {
	r := make([]byte, len(b))
	for i := range b {
		r[len(b)-1-i] = b[i]
	}
	return r
}

// Old pages in the place of new ones, as a copy has that was made while the file was written to: each is whole.
func TestStalePages(t *testing.T) {
	path := filepath.Join(t.TempDir(), "croft.db")
	page := os.Getpagesize()
	sample(t, path, 2000)
	old := readFile(t, path)
	db, err := store.Open(path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for v := range 6 {
		update(t, db, func(tx *store.Tx) error {
			for i := range 20 {
				if err := tx.Put(key(fmt.Sprintf("%05d", i*100+v)), []byte("new")); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := errors.Join(db.Check(), db.Close()); err != nil {
		t.Fatal(err)
	}
	content := readFile(t, path)
	f, err := pages.Open(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	reached, err := f.Walk(ctx, f.Metas()[0], pages.Visitor{})
	if err != nil {
		t.Fatal(err)
	}
	stale, matter := 0, 0
	for at := 2 * page; at+page <= min(len(old), len(content)); at += page {
		if bytes.Equal(old[at:at+page], content[at:at+page]) {
			continue
		}
		stale++
		torn := bytes.Clone(content)
		copy(torn[at:], old[at:at+page])
		writeFile(t, path, torn)
		r, err := store.CheckFile(ctx, path, store.CheckOptions{})
		if err != nil {
			t.Fatal(err)
		}
		// Of a page that is free in the newest commit it doesn't matter how old it is.
		used := reached.Used(uint64(at / page))
		if used {
			matter++
		}
		if told := r.FaultsTotal > 0; told != used {
			t.Errorf("page %d: in use %v, told %v", at/page, used, r.Faults)
		}
	}
	writeFile(t, path, content)
	if r, err := store.CheckFile(ctx, path, store.CheckOptions{}); err != nil || r.FaultsTotal > 0 {
		t.Errorf("the good file: %v %v", err, r)
	}
	t.Logf("%d pages differ, %d matter", stale, matter)
	if matter < 10 {
		t.Errorf("of %d stale pages %d matter", stale, matter)
	}
}

// A file that is cut short while it is open: errors, and no crash.
func TestTruncatedWhileOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "croft.db")
	sample(t, path, 20_000)
	db, err := store.Open(path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, int64(4*os.Getpagesize())); err != nil {
		t.Fatal(err)
	}
	errs := 0
	for i := range 20_000 {
		err := db.View(func(tx *store.Tx) error {
			_, err := tx.Get(key(fmt.Sprintf("%05d", i)))
			return err
		})
		if err != nil && !errors.Is(err, store.ErrDamaged) {
			t.Fatal(err)
		}
		if err != nil {
			errs++
		}
	}
	if errs < 19_000 {
		t.Errorf("%d reads of 20000 failed", errs)
	}
	if err := db.Check(); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("check: %v", err)
	}
	if err := db.Update(ctx, put("00100")); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("update: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}

// The value that a function holds in its hands can be what can't be read.
func TestFaultInHand(t *testing.T) {
	if os.Getpagesize() > 1<<16 {
		t.Skip("pages as large as the value")
	}
	path := filepath.Join(t.TempDir(), "croft.db")
	large := bytes.Repeat([]byte("x"), 1<<20)
	for _, way := range []string{"view", "update"} {
		db, err := store.Open(path, store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		update(t, db, func(tx *store.Tx) error { return tx.Put(key("large"), large) })
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		hold := func(tx *store.Tx) error {
			c := tx.Scan(store.Range{Lo: key("large"), Unchecked: true})
			c.Next()
			if err := os.Truncate(path, 2*int64(os.Getpagesize())); err != nil {
				t.Error(err)
			}
			if bytes.Equal(c.Value(), large) {
				return errors.New("it was read all the same")
			}
			return errors.New("it could be read")
		}
		if way == "view" {
			err = db.View(hold)
		} else {
			err = db.Update(ctx, hold)
		}
		if !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), "can't be read") {
			t.Errorf("%s: %v", way, err)
		}
		if err := errors.Join(os.Truncate(path, info.Size()), db.Close(), os.Remove(path)); err != nil {
			t.Error(err)
		}
	}
}
