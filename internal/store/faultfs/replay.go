//go:build linux && (amd64 || arm64)

package faultfs

import (
	"errors"
	"math/rand/v2"
	"os"
)

// A Disk is what is under a recorded folder at a moment of the record. What was flushed is on it; of the rest, in any
// order, each sector of a write, and each change of a length, may be there or not. Names arrive in order, as a journal keeps them.
// The zero value is empty.
type Disk struct {
	files   map[uint64]*file
	names   map[string]uint64
	pending []Event // not flushed
}

// file is what was flushed of a file.
type file struct {
	content []byte
	used    int // all behind it was never written to
}

// An Image is what a file may be after a power cut: what was flushed of it, and any part of Pending.
type Image struct {
	Pending []Event // Wrote or Resized
	flushed file
}

// Do does the next event of the record.
func (d *Disk) Do(e Event) {
	if d.files == nil {
		d.files, d.names = map[uint64]*file{}, map[string]uint64{}
	}
	switch e.Op {
	case Flushed:
		d.flush(func(p Event) bool { return p.ofFile() && p.Inode == e.Inode })
	case FolderFlushed:
		d.flush(func(p Event) bool { return !p.ofFile() })
	case Created:
		d.files[e.Inode] = &file{}
		d.pending = append(d.pending, e)
	default:
		d.pending = append(d.pending, e)
	}
}

func (e Event) ofFile() bool { return e.Op == Wrote || e.Op == Resized }

// flush does the pending events that match.
func (d *Disk) flush(matches func(Event) bool) {
	kept := d.pending[:0]
	for _, p := range d.pending {
		switch {
		case !matches(p):
			kept = append(kept, p)
		case p.ofFile():
			d.files[p.Inode].do(p)
		default:
			rename(d.names, p)
		}
	}
	clear(d.pending[len(kept):])
	d.pending = kept
}

func (f *file) do(e Event) {
	end := int(e.Offset) + len(e.Bytes)
	if e.Op == Resized && end < len(f.content) {
		f.content = f.content[:end]
		f.used = min(f.used, end)
	}
	if end > len(f.content) {
		f.content = append(f.content, make([]byte, end-len(f.content))...)
	}
	if e.Op == Wrote {
		copy(f.content[e.Offset:], e.Bytes)
		f.used = max(f.used, end)
	}
}

// rename does what an event does to names.
func rename(names map[string]uint64, e Event) {
	switch e.Op {
	case Created, Named:
		names[e.Name] = e.Inode
	case Renamed:
		names[e.Name] = names[e.From]
		delete(names, e.From)
	case Removed:
		delete(names, e.Name)
	}
}

// Images returns what the file of a name may be, one image for each file that may have the name, and whether there
// may be none. They are valid until the next event.
func (d *Disk) Images(name string) (images []Image, none bool) {
	names := map[string]uint64{}
	for n, inode := range d.names {
		names[n] = inode
	}
	seen := map[uint64]bool{}
	look := func() {
		inode, ok := names[name]
		none = none || !ok
		if !ok || seen[inode] {
			return
		}
		seen[inode] = true
		im := Image{flushed: *d.files[inode]}
		for _, p := range d.pending {
			if p.ofFile() && p.Inode == inode {
				im.Pending = append(im.Pending, p)
			}
		}
		images = append(images, im)
	}
	look()
	for _, p := range d.pending {
		if !p.ofFile() {
			rename(names, p)
			look()
		}
	}
	return images, none
}

// Arrival is what of a pending event is on the disk.
type Arrival byte

const (
	Lost Arrival = iota
	Arrived
	Torn // some of its sectors
)

// Write makes a file be the image of which the pending events arrived so; the random numbers choose the sectors of
// torn ones.
func (im *Image) Write(to *os.File, arrivals []Arrival, r *rand.Rand) error {
	// What is behind the written part must be zero.
	err := errors.Join(to.Truncate(int64(im.flushed.used)), to.Truncate(int64(len(im.flushed.content))))
	if err == nil {
		_, err = to.WriteAt(im.flushed.content[:im.flushed.used], 0)
	}
	for i, e := range im.Pending {
		if err != nil {
			break
		}
		switch {
		case arrivals[i] == Lost || e.Op == Resized && arrivals[i] == Torn:
		case e.Op == Resized:
			err = to.Truncate(e.Offset)
		case arrivals[i] == Arrived:
			_, err = to.WriteAt(e.Bytes, e.Offset)
		default:
			chance := r.Float64()
			err = e.sectors(func(offset int64, b []byte) (err error) {
				if r.Float64() < chance {
					_, err = to.WriteAt(b, offset)
				}
				return err
			})
		}
	}
	return err
}

// sector is how many bytes a disk writes whole or not at all.
const sector = 512

// sectors calls fn for each sector, or part of one, of a write.
func (e Event) sectors(fn func(offset int64, b []byte) error) error {
	for at, b := e.Offset, e.Bytes; len(b) > 0; {
		n := min(int(sector-at%sector), len(b))
		if err := fn(at, b[:n]); err != nil {
			return err
		}
		at, b = at+int64(n), b[n:]
	}
	return nil
}
