package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// A stored value is sealed: a CRC-32C over its key and itself stands in front of it. Castagnoli's polynomial has an
// instruction on amd64 and arm64.
const sumSize = 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(key, value []byte) uint32 {
	return crc32.Update(crc32.Update(0, castagnoli, key), castagnoli, value)
}

// appendSealed appends the sealed form of a value.
func appendSealed(dst, key, value []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, checksum(key, value))
	return append(dst, value...)
}

// unseal verifies a sealed value and returns what is inside.
func unseal(key, sealed []byte) ([]byte, error) {
	if len(sealed) < sumSize {
		return nil, damaged(key, "its value is too short")
	}
	value := sealed[sumSize:]
	if binary.BigEndian.Uint32(sealed) != checksum(key, value) {
		return nil, damaged(key, "it fails its checksum")
	}
	return value, nil
}

// damaged is the error of a key whose entry is not as it was written. Of the key only the space is told: the rest may
// be the digest of a secret.
func damaged(key []byte, what string) error {
	space := "?"
	if len(key) > 0 {
		space = Space(key[0]).String()
	}
	return fmt.Errorf("%w: an entry of %s: %s", ErrDamaged, space, what)
}

// recoverDamage turns a panic of bbolt's, which follows pointers in the file without checking them, into ErrDamaged.
func recoverDamage(err *error) {
	if p := recover(); p != nil {
		*err = panicDamage(p)
	}
}

func panicDamage(p any) error {
	if err := faultError(p); err != nil {
		return err
	}
	return fmt.Errorf("%w: %v", ErrDamaged, p)
}

// recoverFault turns a fault on what was handed out of the file into ErrDamaged, and lets other panics pass.
func recoverFault(err *error) {
	p := recover()
	if p == nil {
		return
	}
	if *err = faultError(p); *err == nil {
		panic(p)
	}
}

// fault is a runtime error of a memory access: of the mapped file, when it is shorter than it says or the disk fails.
type fault interface {
	error
	Addr() uintptr
}

// faultError returns the error for a fault, or nil if the panic is another.
func faultError(p any) error {
	var f fault
	if err, ok := p.(error); ok && errors.As(err, &f) {
		return fmt.Errorf("%w: a part of it can't be read: the disk fails, or the file was cut short", ErrDamaged)
	}
	return nil
}

// entryDigest is an entry's part in the digest of everything, which is their sum: so a commit brings it up to date
// from what it changed. What is summed is the checksum and the length, mixed as splitmix64 does, because
// checksums alone are linear: exchanged parts would cancel out.
func entryDigest(key, sealed []byte) uint64 {
	x := uint64(len(key)+len(sealed)) << 32
	if len(sealed) >= sumSize {
		x |= uint64(binary.BigEndian.Uint32(sealed))
	}
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
