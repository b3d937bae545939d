package records

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"

	"croft/internal/records/rawjson"
)

// A record is stored as the JSON that a GET returns, behind a directory that finds a top-level field without walking
// the JSON:
//
//	u8       width of an offset: 2 or 4 bytes
//	u16      n, the number of fields
//	u8 × n   a hash of each field's quoted name
//	u8 × n   a hash of each field's raw value
//	width×n  where the field's quoted name begins in the JSON
//	JSON     canonical (rawjson), beginning with the system fields
//
// A scan reads the hashes, which lie in one or two cache lines: most records that don't match an == are
// ruled out by the value's hash, and their JSON is never touched.
type stored struct {
	names, values, offsets []byte
	width                  int
	json                   []byte
}

const directoryHeader = 3

var errStored = errors.New("a stored record is malformed")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// hash is 8 bits of a CRC that CPUs have an instruction for.
func hash(b []byte) byte { return byte(crc32.Checksum(b, castagnoli)) }

// name is a field's name, ready to be looked up.
type name struct {
	quoted []byte // as it stands in the JSON
	hash   byte
}

func nameOf(field string) name {
	quoted := rawjson.AppendString(nil, field)
	return name{quoted, hash(quoted)}
}

// appendStored appends the stored form of a canonical JSON object.
func appendStored(dst, json []byte) []byte {
	n := members(json)
	width := 2
	if len(json) > 0xffff {
		width = 4
	}
	start := len(dst)
	dst = append(dst, byte(width), byte(n>>8), byte(n))
	dst = append(dst, make([]byte, n*(2+width))...)
	names := dst[start+directoryHeader:]
	i := 0
	for it := rawjson.Members(json); it.Next(); i++ {
		names[i] = hash(it.Key())
		names[n+i] = hash(it.Value())
		at := it.Offset() - len(it.Key()) - 1
		if width == 2 {
			binary.BigEndian.PutUint16(names[2*n+2*i:], uint16(at))
		} else {
			binary.BigEndian.PutUint32(names[2*n+4*i:], uint32(at))
		}
	}
	return append(dst, json...)
}

// maxFields is what the directory can count.
const maxFields = 1<<16 - 1

func members(json []byte) int {
	n := 0
	for it := rawjson.Members(json); it.Next(); {
		n++
	}
	return n
}

// openStored reads the directory of a stored record.
func openStored(value []byte) (stored, error) {
	if len(value) < directoryHeader {
		return stored{}, errStored
	}
	width, n := int(value[0]), int(value[1])<<8|int(value[2])
	start := directoryHeader + n*(2+width)
	if width != 2 && width != 4 || len(value) < start+2 {
		return stored{}, errStored
	}
	d := value[directoryHeader:]
	return stored{d[:n], d[n : 2*n], value[directoryHeader+2*n : start], width, value[start:]}, nil
}

// offset is where the name of field i begins.
func (s *stored) offset(i int) int {
	if s.width == 2 {
		return int(binary.BigEndian.Uint16(s.offsets[2*i:]))
	}
	return int(binary.BigEndian.Uint32(s.offsets[4*i:]))
}

// find returns the number of a field, or -1.
func (s *stored) find(f *name) int {
	for i := 0; ; i++ {
		next := bytes.IndexByte(s.names[i:], f.hash)
		if next < 0 {
			return -1
		}
		i += next
		if at := s.offset(i); at < len(s.json) && bytes.HasPrefix(s.json[at:], f.quoted) {
			return i
		}
	}
}

// member returns the name, quoted, and the value of field i.
func (s *stored) member(i int, quoted int) (key, value []byte) {
	at, end := s.offset(i), len(s.json)-1
	if i+1 < len(s.names) {
		end = s.offset(i+1) - 1
	}
	if at+quoted+1 > end || end > len(s.json) {
		return nil, nil // damaged; a checksum will say so
	}
	return s.json[at : at+quoted], s.json[at+quoted+1 : end]
}

// field returns the raw value of a field, or nil.
func (s *stored) field(f *name) []byte {
	i := s.find(f)
	if i < 0 {
		return nil
	}
	_, value := s.member(i, len(f.quoted))
	return value
}

// mayEqual reports whether a field may have this raw value. Where it can, it answers from the hashes alone; a different
// name with the same hash makes it answer true.
func (s *stored) mayEqual(f *name, valueHash byte) bool {
	for i := 0; i < len(s.names); i++ {
		next := bytes.IndexByte(s.names[i:], f.hash)
		if next < 0 {
			return false
		}
		i += next
		if s.values[i] == valueHash {
			return true
		}
	}
	return false
}
