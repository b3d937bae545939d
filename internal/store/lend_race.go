//go:build race

package store

// lent remembers what a transaction handed out. With the race detector those are copies, and they are scribbled
// over when the transaction ends, so that a test fails which uses one later.
type lent struct{ copies [][]byte }

func (l *lent) lend(value []byte) []byte {
	if value == nil {
		return nil
	}
	c := append(make([]byte, 0, len(value)+1), value...)
	l.copies = append(l.copies, c)
	return c
}

func (l *lent) scribble() {
	for _, c := range l.copies {
		for i := range c {
			c[i] = 0xdb
		}
	}
	l.copies = nil
}
