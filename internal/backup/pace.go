package backup

import (
	"context"
	"io"
	"time"

	"croft/internal/store"
)

// maxRest bounds a pause, so that a slow client doesn't make the server slow too.
const maxRest = 200 * time.Millisecond

// paced reads an image at half its speed while others write to the data file, so that they find the processor and the disk free for half of
// the time: what came of each part took as long as the rest after it. When nobody writes it doesn't rest.
type paced struct {
	ctx     context.Context
	db      *store.DB
	r       io.Reader
	last    time.Time // when the rest before the last part ended
	commits uint64
}

// reader reads an image from its beginning.
func reader(ctx context.Context, db *store.DB, im *store.Image) io.Reader {
	return &paced{ctx: ctx, db: db, r: io.NewSectionReader(im, 0, im.Size())}
}

func (p *paced) Read(b []byte) (int, error) {
	commits := p.db.Stats().Commits
	if !p.last.IsZero() && commits != p.commits {
		timer := time.NewTimer(min(time.Since(p.last), maxRest))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-p.ctx.Done():
			return 0, p.ctx.Err()
		}
	}
	p.commits, p.last = commits, time.Now()
	return p.r.Read(b)
}
