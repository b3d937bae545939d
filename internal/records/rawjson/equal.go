package rawjson

import "bytes"

// fewMembers is up to how many members a lookup by walking beats a map.
const fewMembers = 8

// Equal tells whether two canonical values are the same JSON value: objects
// regardless of their members' order.
func Equal(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	// Reordering keeps the length, and so does nothing else that leaves values equal.
	if len(a) != len(b) || KindOf(a) != KindOf(b) {
		return false
	}
	switch KindOf(a) {
	case Array:
		ia, ib := Elements(a), Elements(b)
		for ia.Next() {
			if !ib.Next() || !Equal(ia.Value(), ib.Value()) {
				return false
			}
		}
		return !ib.Next()
	case Object:
		return equalObjects(a, b)
	}
	return false
}

func equalObjects(a, b []byte) bool {
	n := 0
	for it := Members(b); it.Next(); {
		n++
	}
	var index map[string][]byte
	if n > fewMembers {
		index = make(map[string][]byte, n)
		for it := Members(b); it.Next(); {
			index[string(it.Key())] = it.Value()
		}
	}
	for it := Members(a); it.Next(); {
		n--
		var other []byte
		if index != nil {
			other = index[string(it.Key())]
		} else {
			other = getQuoted(b, it.Key())
		}
		if other == nil || !Equal(it.Value(), other) {
			return false
		}
	}
	return n == 0
}

// getQuoted is Get by the name as it stands in canonical JSON.
func getQuoted(raw, key []byte) []byte {
	for it := Members(raw); it.Next(); {
		if bytes.Equal(it.Key(), key) {
			return it.Value()
		}
	}
	return nil
}
