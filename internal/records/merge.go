package records

import "croft/internal/records/rawjson"

// merge appends the result of a JSON Merge Patch (RFC 7396) to dst: a member that is null is removed, objects are merged,
// all else is replaced. Both are canonical. New members stand behind those that were there, in the patch's order.
func merge(dst, target, patch []byte) []byte {
	if rawjson.KindOf(patch) != rawjson.Object {
		return append(dst, patch...)
	}
	if rawjson.KindOf(target) != rawjson.Object {
		target = []byte("{}")
	}
	dst = append(dst, '{')
	start := len(dst)
	member := func(key, value, change []byte) {
		if rawjson.KindOf(change) == rawjson.Null {
			return
		}
		if len(dst) > start {
			dst = append(dst, ',')
		}
		dst = append(append(dst, key...), ':')
		if change == nil {
			dst = append(dst, value...)
		} else {
			dst = merge(dst, value, change)
		}
	}
	for it := rawjson.Members(target); it.Next(); {
		member(it.Key(), it.Value(), getQuoted(patch, it.Key()))
	}
	for it := rawjson.Members(patch); it.Next(); {
		if getQuoted(target, it.Key()) == nil {
			member(it.Key(), nil, it.Value())
		}
	}
	return append(dst, '}')
}

// getQuoted is rawjson.Get by a name as it stands in canonical JSON.
func getQuoted(object, key []byte) []byte {
	for it := rawjson.Members(object); it.Next(); {
		if string(it.Key()) == string(key) {
			return it.Value()
		}
	}
	return nil
}
