package proof

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
)

// A ledger remembers every write that was sent, and which of them were acknowledged, so that what is found later can be held
// against it. A record has one client that writes it, one write at a time, so its writes have an order.
type ledger struct {
	mu     sync.Mutex
	clock  uint64
	writes map[string][]*write // by the record's id, in the order they were sent
}

// A write is one change of a record.
type write struct {
	version int    // which of the record's texts it stores; 0 for a delete
	rev     uint64 // that the answer told; 0 for a delete, and without an answer
	sent    uint64 // the ledger's clock before it was sent
	acked   uint64 // and after it was answered; 0 without an answer
}

func newLedger() *ledger { return &ledger{writes: map[string][]*write{}} }

// now is a moment: what was acknowledged before has a lower number, what is sent after has a higher one.
func (l *ledger) now() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clock++
	return l.clock
}

// send notes a write that is about to be sent: the next version of a record, or its delete.
func (l *ledger) send(id string, remove bool) *write {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clock++
	w := &write{sent: l.clock}
	if !remove {
		w.version = len(l.writes[id]) + 1
	}
	l.writes[id] = append(l.writes[id], w)
	return w
}

// acknowledge notes that a write was answered.
func (l *ledger) acknowledge(w *write, rev uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clock++
	w.acked, w.rev = l.clock, rev
}

// refuse notes that the last write of a record was refused: it has no effect.
func (l *ledger) refuse(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writes[id] = l.writes[id][:len(l.writes[id])-1]
}

// acknowledged counts the writes with an answer.
func (l *ledger) acknowledged() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, writes := range l.writes {
		for _, w := range writes {
			if w.acked != 0 {
				n++
			}
		}
	}
	return n
}

// A record is one of the collection.
type record struct {
	ID      string
	Rev     string
	Created string
	Updated string
	Owner   string
	content
}

// content is a record's own fields: any version of any record differs from all others.
type content struct {
	N     int    `json:"n"`
	Group int    `json:"group"`
	Name  string `json:"name"`
	Text  string `json:"text"`
}

// groups is how many groups there are.
const groups = 7

// contentOf is what a version of a record holds. Some are longer than a page of the file.
func contentOf(id string, version int) content {
	h := fnv.New64a()
	h.Write([]byte(id))
	r := rand.New(rand.NewPCG(h.Sum64(), uint64(version)))
	n := 50 + r.IntN(900)
	if r.IntN(40) == 0 {
		n = 4000 + r.IntN(12000)
	}
	text := make([]byte, n)
	for i := range text {
		text[i] = "abcdefghijklmnopqrstuvwxyz     ."[r.IntN(32)]
	}
	return content{version, r.IntN(groups), fmt.Sprintf("%s-%d-%x", id, version, r.Uint32()), string(text)}
}

// faults is how many a comparison tells.
const faults = 10

// compare holds the records found in a copy, or after a crash, against the ledger: they must be those of one moment, no
// earlier than begin and no later than end, which are of the ledger's clock. It returns what is wrong.
func (l *ledger) compare(found []record, begin, end uint64) (wrong []error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fault := func(format string, args ...any) {
		if len(wrong) < faults {
			wrong = append(wrong, fmt.Errorf(format, args...))
		}
	}
	byID := make(map[string]*record, len(found))
	newest := uint64(0) // the latest change that is there: all before it must be there too
	for i := range found {
		r := &found[i]
		rev, err := strconv.ParseUint(r.Rev, 16, 64)
		if err != nil || byID[r.ID] != nil || l.writes[r.ID] == nil {
			fault("record %s rev %q: not one that was sent, or there twice", r.ID, r.Rev)
		}
		byID[r.ID] = r
		newest = max(newest, rev)
	}
	for _, writes := range l.writes {
		for _, w := range writes {
			if w.rev != 0 && w.rev == newest {
				begin = max(begin, w.sent)
			}
		}
	}
	for id, writes := range l.writes {
		at := place(writes, byID[id])
		if at == nowhere {
			fault("record %s: what is there is none of the %d versions that were sent: %.200v", id, len(writes), byID[id])
			continue
		}
		least, most := bounds(writes, begin, end, newest)
		for i := least; byID[id] == nil && i <= most; i++ {
			if i >= 0 && writes[i].version == 0 {
				at = i // it may be absent by a later delete
			}
		}
		if at < least || at > most {
			fault("record %s: as of write %d, want one of %d to %d (from what was acknowledged to what was sent; -1 is before the first)", id, at, least, most)
		}
	}
	return wrong
}

// bounds are the first and the last of a record's writes that may be its newest.
func bounds(writes []*write, begin, end, newest uint64) (least, most int) {
	least, most = -1, -1
	for i, w := range writes {
		if w.sent > end {
			break
		}
		if w.acked != 0 && (w.acked < begin || w.rev != 0 && w.rev <= newest) {
			least = i
		}
		if w.rev == 0 || w.rev <= newest {
			most = i
		}
	}
	return least, max(least, most)
}

const nowhere = -2

// place is the number of the write that a record's state is that of: -1 when it is not there and was not yet, or nowhere.
func place(writes []*write, r *record) int {
	if r == nil {
		return -1
	}
	i := slices.IndexFunc(writes, func(w *write) bool { return w.version == r.N })
	if i < 0 || r.N == 0 || r.content != contentOf(r.ID, r.N) {
		return nowhere
	}
	if told := writes[i].rev; told != 0 && fmt.Sprintf("%012x", told) != r.Rev {
		return nowhere
	}
	return i
}

// settle takes what was found after a crash for what is: of the writes without an answer, those that are there are as good as
// acknowledged, and the others never were.
func (l *ledger) settle(found []record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	version := make(map[string]int, len(found))
	for _, r := range found {
		version[r.ID] = r.N
	}
	l.clock++
	for id, writes := range l.writes {
		n := len(writes)
		if n == 0 || writes[n-1].acked != 0 {
			continue
		}
		if last := writes[n-1]; last.version == version[id] {
			last.acked = l.clock
		} else {
			l.writes[id] = writes[:n-1]
		}
	}
}

// TestLedger holds the ledger to its claim: it sees each way in which a copy can be wrong.
func TestLedger(t *testing.T) {
	l := newLedger()
	rev := uint64(0)
	act := func(id string, remove bool) {
		w := l.send(id, remove)
		if rev++; remove {
			l.acknowledge(w, 0)
		} else {
			l.acknowledge(w, rev)
		}
	}
	act("a", false) // rev 1
	act("b", false) // rev 2
	begin := l.now()
	act("a", false)    // rev 3
	act("b", true)     // rev 4
	act("c", false)    // rev 5
	l.send("c", false) // rev 6, which nobody is told
	rev++
	end := l.now()
	act("a", false) // rev 7
	at := func(id string, version int, rev string) record {
		return record{ID: id, Rev: rev, content: contentOf(id, version)}
	}
	a1, a2, a3 := at("a", 1, "000000000001"), at("a", 2, "000000000003"), at("a", 3, "000000000007")
	b1, c1, c2 := at("b", 1, "000000000002"), at("c", 1, "000000000005"), at("c", 2, "000000000006")
	mixed := a2
	mixed.Text = a1.Text
	for _, test := range []struct {
		name  string
		found []record
		right bool
	}{
		{"as it was when the copy began", []record{a1, b1}, true},
		{"a later moment", []record{a2, b1}, true},
		{"after a delete", []record{a2}, true},
		{"when it ended", []record{a2, c1}, true},
		{"with what was not acknowledged", []record{a2, c2}, true},
		{"an acknowledged write is missing", []record{b1}, false},
		{"all are missing", nil, false},
		{"new, and one that was deleted before", []record{a2, b1, c1}, false},
		{"new, and one that is old", []record{a1, c1}, false},
		{"of after the copy", []record{a3, c1}, false},
		{"a mixture", []record{mixed, b1}, false},
		{"of another rev", []record{at("a", 1, "000000000003"), b1}, false},
		{"never sent", []record{a1, b1, at("d", 1, "000000000003")}, false},
		{"twice", []record{a1, a1, b1}, false},
	} {
		if wrong := l.compare(test.found, begin, end); (wrong == nil) != test.right {
			t.Errorf("%s: %v", test.name, wrong)
		}
	}
	l.settle([]record{a3, c1}) // the last write of c was lost
	if wrong := l.compare([]record{a3, c1}, l.now(), l.now()); wrong != nil {
		t.Error(wrong)
	}
	if wrong := l.compare([]record{a3, c2}, l.now(), l.now()); wrong == nil {
		t.Error("a write that was lost came back")
	}
}
