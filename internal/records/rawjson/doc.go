// Package rawjson works on JSON as bytes: it lets strict JSON in, writes it in
// one canonical form, and walks that form without decoding it.
//
// What Canonical accepts is RFC 8259 and stricter: valid UTF-8, no lone
// surrogates, no name twice in one object at any level, a bounded depth,
// nothing after the value, and only numbers that a double keeps exactly.
//
// What it writes is canonical: no white space; members in the order given;
// strings with only the escapes that JSON demands; numbers in the shortest
// spelling that reads back as the same double (as ECMAScript prints them). So
// two equal scalars always have equal bytes, and Canonical of canonical bytes
// gives the same bytes.
//
// Everything else here (Members, Elements, Get, Path, Equal, …) expects
// canonical bytes. Other input gives meaningless answers, but never a panic or
// an endless loop.
//
// The package is a leaf and touches no keys of the data file.
package rawjson
