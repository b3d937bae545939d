package store

import "fmt"

// Space is the first byte of a key. Each belongs to one package, which alone reads and writes it; the layouts of the
// keys behind it stand here.
//
//	space     key                                              value                              written by
//	meta      "format"                                         u32 format version                 store
//	          "file"                                           16 random bytes: the file's id     store
//	          "place"                                          which file of its disk it was      store
//	settings  name                                             JSON                               settings
//	auth      see package auth's keys.go                                                          auth
//	catalog   'c' name                                         JSON: the collection as defined    records
//	          'n' collection u32                               u64 generation, u64 records        records
//	          'x'                                              u32: the last collection's number  records
//	          'b' collection u32, index u32                    how far an index is built          records
//	          'd' prefix                                       nothing: its keys are deleted      records
//	records   collection u32, id                               directory, JSON                    records
//	indexes   collection u32, index u32, ordered values, id    see records/index                  records
//	backups   u64: when it was taken, in Unix milliseconds     JSON: what became of it            backup
//	https     'c' path, 'r', 'l' and 'e' name: see package https's keys.go                        https
//
// Numbers in keys are big-endian, so that they sort. Names and ids stand at the end, or end in a zero byte.
type Space byte

const (
	spaceMeta Space = 0x00
	Settings  Space = 0x10
	Auth      Space = 0x20
	Catalog   Space = 0x30
	Records   Space = 0x40
	Indexes   Space = 0x50
	Backups   Space = 0x60
	HTTPS     Space = 0x70
)

var spaces = map[Space]string{
	spaceMeta: "meta", Settings: "settings", Auth: "auth", Catalog: "catalog", Records: "records", Indexes: "indexes",
	Backups: "backups", HTTPS: "https",
}

func (s Space) String() string {
	if name, ok := spaces[s]; ok {
		return name
	}
	return fmt.Sprintf("unknown space %#x", byte(s))
}

// Key returns a key of the space.
func (s Space) Key(parts ...[]byte) []byte {
	n := 1
	for _, p := range parts {
		n += len(p)
	}
	key := append(make([]byte, 0, n), byte(s))
	for _, p := range parts {
		key = append(key, p...)
	}
	return key
}

// bucketName is the bucket of all keys: a tree of its own for each kind of key costs a tenth more. Its sequence is the
// number of the last change. sumsName is an empty bucket, whose sequence is the digest of all keys and values. Both stand
// in the root page, which each commit writes anew.
var (
	bucketName = []byte("croft")
	sumsName   = []byte("sums")
)

// format is the version of all that stands in the file. It changes when an older Croft could not read what this one
// writes.
const format = 1

var (
	keyFormat = spaceMeta.Key([]byte("format"))
	keyFile   = spaceMeta.Key([]byte("file"))
)
