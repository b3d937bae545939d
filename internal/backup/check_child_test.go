package backup

import (
	"bytes"
	"io"
	"testing"
)

// What a child says is kept to a bound, however it is copied.
func TestClipped(t *testing.T) {
	var c clipped
	n, err := io.Copy(&c, bytes.NewReader(make([]byte, maxSaid+1000)))
	if err != nil || n != maxSaid+1000 || c.said.Len() != maxSaid {
		t.Errorf("%d of %d bytes are kept, %v", c.said.Len(), n, err)
	}
	// As exec.Cmd copies: from what has no WriteTo.
	c = clipped{}
	n, err = io.Copy(&c, struct{ io.Reader }{bytes.NewReader(make([]byte, maxSaid+1000))})
	if err != nil || n != maxSaid+1000 || c.said.Len() != maxSaid {
		t.Errorf("%d of %d bytes are kept, %v", c.said.Len(), n, err)
	}
}
