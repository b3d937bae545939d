package rawjson

import "strings"

var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")

// Pointer is the JSON Pointer (RFC 6901) of a path of names and indexes. No
// path at all is the whole document, "".
func Pointer(path ...string) string {
	var b strings.Builder
	for _, segment := range path {
		b.WriteByte('/')
		if strings.ContainsAny(segment, "~/") {
			segment = pointerEscapes.Replace(segment)
		}
		b.WriteString(segment)
	}
	return b.String()
}

// SplitPointer is the path that a JSON Pointer stands for; ok is false when it
// is not a JSON Pointer.
func SplitPointer(pointer string) (path []string, ok bool) {
	if pointer == "" {
		return nil, true
	}
	if pointer[0] != '/' {
		return nil, false
	}
	path = strings.Split(pointer[1:], "/")
	for i, segment := range path {
		if !strings.Contains(segment, "~") {
			continue
		}
		for rest := segment; ; {
			_, after, found := strings.Cut(rest, "~")
			if !found {
				break
			}
			if after == "" || after[0] != '0' && after[0] != '1' {
				return nil, false
			}
			rest = after[1:]
		}
		// In this order, so that "~01" is "~1".
		path[i] = strings.ReplaceAll(strings.ReplaceAll(segment, "~1", "/"), "~0", "~")
	}
	return path, true
}
