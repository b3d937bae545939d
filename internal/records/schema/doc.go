// Package schema holds a collection's records to its JSON Schema (2020-12).
//
// Compile takes a schema apart and refuses what could not be kept: a schema
// that isn't one, references to anything outside it (nothing is ever fetched),
// references that never end, patterns that RE2 can't run, unknown formats and
// unknown keywords (a typing error must not open a collection; names beginning
// with "x-" are for notes of one's own), defaults that don't fit. It tells all
// faults at once, each with its JSON Pointer into the schema.
//
// Validation has two ways. Schemas of plain keywords only (see node.plain) are
// checked straight over a record's canonical bytes, without decoding it.
// Anything else goes through santhosh-tekuri/jsonschema. Both give the same
// verdicts and the same words (words.go); a property test and the official test
// suite hold them to it.
//
// What Croft does where JSON Schema leaves a choice, or where it does more:
//
//   - "format" is asserted. An unknown format is refused.
//   - "contentEncoding", "contentMediaType", "contentSchema", "title",
//     "description", "examples", "deprecated" and "writeOnly" are notes for
//     people and programs; nothing checks them.
//   - "default" of a property fills in when a record is created, also inside
//     objects and lists of objects, through "$ref" and "allOf". Defaults
//     elsewhere (in the branches of "anyOf", say) are notes, but must fit.
//   - "readOnly" works on properties, also nested in objects, through "$ref"
//     and "allOf"; elsewhere it is refused.
//   - A schema is about the record without its system fields.
//   - A value of the wrong type or format gets that one fault, not a second
//     one for being too short as well. At most 100 faults are told.
//
// The package is pure: no I/O, no keys of the data file. A Schema never
// changes and may be used by many goroutines.
package schema
