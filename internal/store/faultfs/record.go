//go:build linux && (amd64 || arm64)

package faultfs

import (
	"bufio"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
)

// Op is what was done.
type Op byte

const (
	Wrote         Op = iota + 1 // Bytes at Offset of the file Inode
	Resized                     // the file Inode to Offset bytes
	Flushed                     // the file Inode, its length too
	Created                     // the file Inode, empty, as Name
	Named                       // the file Inode as Name too
	Renamed                     // From to Name
	Removed                     // Name
	FolderFlushed               // all names
)

// An Event is something that was done to a recorded folder.
type Event struct {
	Op         Op
	Inode      uint64
	Name, From string
	Offset     int64
	Bytes      []byte
}

func recordPath(mount string) string { return filepath.Join(filepath.Dir(mount), "record") }

// recorder writes events to a file.
type recorder struct {
	file *os.File
	out  *bufio.Writer
	gob  *gob.Encoder
	err  error // the first
}

func newRecorder(path string) (*recorder, error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	out := bufio.NewWriter(file)
	return &recorder{file: file, out: out, gob: gob.NewEncoder(out)}, nil
}

func (r *recorder) close() error { return errors.Join(r.err, r.file.Close()) }

func (r *recorder) flush() error { return errors.Join(r.err, r.out.Flush()) }

// keep records an event. The caller holds mu.
func (d *disk) keep(e Event) {
	if d.record != nil && d.record.err == nil {
		d.record.err = d.record.gob.Encode(e)
	}
}

// Events reads a record.
func Events(path string) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		file, err := os.Open(path)
		if err != nil {
			yield(Event{}, err)
			return
		}
		defer file.Close()
		for in := gob.NewDecoder(bufio.NewReader(file)); ; {
			var e Event
			err := in.Decode(&e)
			if err == io.EOF {
				return
			}
			if err != nil {
				err = fmt.Errorf("read %s: %w", path, err)
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}
