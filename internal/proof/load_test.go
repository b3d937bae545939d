package proof

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// A client writes records of its own, one write at a time.
type client struct {
	name   string
	server *server
	ledger *ledger
	token  string
	rand   *rand.Rand
	target int // how many records it has in the long run

	made int      // how many it ever made
	live []string // the ids of those that are there
}

// step makes one write: a create, a change or a delete. An error means that it got no answer, or none that is in order.
func (c *client) step() error {
	// Creates and deletes balance around the target.
	switch p := c.rand.IntN(100); {
	case len(c.live) == 0 || p < 30 && len(c.live) < 2*c.target || p < 60 && len(c.live) < c.target:
		c.made++
		return c.put(fmt.Sprintf("%s-%d", c.name, c.made), true)
	case p < 75:
		return c.put(c.live[c.rand.IntN(len(c.live))], false)
	default:
		return c.remove(c.rand.IntN(len(c.live)))
	}
}

// put stores the next version of a record: by POST, PUT or PATCH.
func (c *client) put(id string, create bool) error {
	w := c.ledger.send(id, false)
	next := contentOf(id, w.version)
	var a answer
	var err error
	want := http.StatusOK
	switch {
	case create && c.rand.IntN(3) > 0:
		want = http.StatusCreated
		a, err = c.server.do("POST", "/records/notes", c.token, struct {
			ID string `json:"id"`
			content
		}{id, next})
	case create:
		want = http.StatusCreated
		a, err = c.server.do("PUT", "/records/notes/"+id, c.token, next)
	case c.rand.IntN(2) > 0:
		a, err = c.server.do("PUT", "/records/notes/"+id, c.token, next)
	default:
		a, err = c.server.do("PATCH", "/records/notes/"+id, c.token, next)
	}
	if err = c.refused(id, a, err); err != nil {
		return err
	}
	if err := a.wants(want); err != nil {
		return fmt.Errorf("write %s: %w", id, err)
	}
	var r record
	if err := json.Unmarshal(a.body, &r); err != nil {
		return err
	}
	rev, err := strconv.ParseUint(r.Rev, 16, 64)
	if err != nil {
		return err
	}
	if r.content != next {
		return fmt.Errorf("write %s: the answer holds other content: %s", id, a.body)
	}
	c.ledger.acknowledge(w, rev)
	if create {
		c.live = append(c.live, id)
	}
	return nil
}

func (c *client) remove(i int) error {
	id := c.live[i]
	w := c.ledger.send(id, true)
	a, err := c.server.do("DELETE", "/records/notes/"+id, c.token, nil)
	if err = c.refused(id, a, err); err != nil {
		return err
	}
	if err := a.wants(http.StatusNoContent); err != nil {
		return fmt.Errorf("delete %s: %w", id, err)
	}
	c.ledger.acknowledge(w, 0)
	c.live[i] = c.live[len(c.live)-1]
	c.live = c.live[:len(c.live)-1]
	return nil
}

// errRefused is a write that the server refused for want of something, and therefore did not do.
var errRefused = errors.New("refused")

// refused notes what the server says it has not done.
func (c *client) refused(id string, a answer, err error) error {
	if err == nil && (a.status == http.StatusInsufficientStorage || a.status == http.StatusTooManyRequests) {
		c.ledger.refuse(id)
		return fmt.Errorf("%w: %d %s", errRefused, a.status, a.code())
	}
	return err
}

// relive has the client go on with the records that are there.
func (c *client) relive(found []record) {
	c.live = c.live[:0]
	for _, r := range found {
		if len(r.ID) > len(c.name) && r.ID[:len(c.name)+1] == c.name+"-" {
			c.live = append(c.live, r.ID)
		}
	}
}

// pace has clients make so many writes a second together, or what the machine can do, until ctx ends. It returns the first
// error.
func pace(ctx context.Context, clients []*client, perSecond float64) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	interval := time.Duration(float64(time.Second) * float64(len(clients)) / perSecond)
	var wait sync.WaitGroup
	for i, c := range clients {
		wait.Go(func() {
			// They begin one after another, so that each write has a commit of its own.
			offset := time.NewTimer(interval * time.Duration(i) / time.Duration(len(clients)))
			defer offset.Stop()
			select {
			case <-offset.C:
			case <-ctx.Done():
				return
			}
			tick := time.NewTicker(interval)
			defer tick.Stop()
			for ctx.Err() == nil {
				if err := c.step(); err != nil {
					cancel(fmt.Errorf("client %s: %w", c.name, err))
				}
				select {
				case <-tick.C:
				case <-ctx.Done():
				}
			}
		})
	}
	wait.Wait()
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// fill has each client make records up to its target, as fast as it can.
func fill(clients []*client) error {
	errs := make([]error, len(clients))
	var wait sync.WaitGroup
	for i, c := range clients {
		wait.Go(func() {
			for len(c.live) < c.target && errs[i] == nil {
				c.made++
				errs[i] = c.put(fmt.Sprintf("%s-%d", c.name, c.made), true)
			}
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

// clients makes n clients that have so many records together in the long run.
func (s *server) clients(n int, l *ledger, token string, r *rand.Rand, records int) []*client {
	all := make([]*client, n)
	for i := range all {
		all[i] = &client{name: fmt.Sprintf("c%d", i), server: s, ledger: l, token: token, rand: fork(r), target: records / n}
	}
	return all
}

// all reads all records, and holds the server's ways to read them to one another: the list, its count and the lists by
// indexes must agree.
func (s *server) all(token string) ([]record, error) {
	all, err := s.list("/records/notes?limit=500&count=true", token)
	if err != nil {
		return nil, err
	}
	byGroup, byName := 0, 0
	for group := range groups {
		some, err := s.list(fmt.Sprintf("/records/notes?limit=500&filter=group==%d&fields=group", group), token)
		if err != nil {
			return nil, err
		}
		byGroup += len(some)
		for _, r := range some {
			if r.Group != group {
				return nil, fmt.Errorf("the list of group %d holds %s of group %d", group, r.ID, r.Group)
			}
		}
	}
	some, err := s.list("/records/notes?limit=500&sort=name&fields=name", token)
	if err != nil {
		return nil, err
	}
	last := ""
	for _, r := range some {
		if r.Name <= last {
			return nil, fmt.Errorf("the list by name holds %q after %q", r.Name, last)
		}
		last = r.Name
		byName++
	}
	if byGroup != len(all) || byName != len(all) {
		return nil, fmt.Errorf("%d records, %d by the index of groups, %d by that of names", len(all), byGroup, byName)
	}
	return all, nil
}

// list reads all pages of a list.
func (s *server) list(path, token string) (all []record, err error) {
	for next := ""; ; {
		var page struct {
			Items []json.RawMessage
			Next  *string
			Count *int
		}
		if err := s.get(path+next, token, &page); err != nil {
			return nil, err
		}
		for _, item := range page.Items {
			r, err := parseRecord(item)
			if err != nil {
				return nil, err
			}
			all = append(all, r)
		}
		if page.Next == nil {
			if page.Count != nil && *page.Count != len(all) {
				return nil, fmt.Errorf("GET %s: a count of %d, and %d records", path, *page.Count, len(all))
			}
			return all, nil
		}
		next = "&cursor=" + *page.Next
	}
}

// parseRecord reads a record strictly: a field that none has is a fault.
func parseRecord(text []byte) (r record, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return r, fmt.Errorf("a record of the wrong form: %w: %.200s", err, text)
	}
	return r, nil
}
