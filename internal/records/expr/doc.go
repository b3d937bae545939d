// Package expr is the expression language of filters, access rules and checks: a subset of the Common Expression
// Language (CEL), parsed and evaluated over records as they are stored, as JSON. It does no I/O and writes no keys.
//
// # The language
//
// Literals are ints (12, 0x1f), doubles (1.5, 1e3), strings ("…", '…', """…""", r"…" without escapes), true, false,
// null and lists. The operators, the loosest first:
//
//	c ? a : b    ||    &&    == != < <= > >= in    + -    * / %    ! -    a.b a[b]
//
// The functions are has(e.f), size(e), e.startsWith(s), e.endsWith(s), e.contains(s), e.matches("RE2"), e.lowerAscii(),
// timestamp(s), duration(s), and e.exists(x, condition) and e.all(x, condition) over lists and the names of objects.
//
// The names are record (in a filter its fields stand bare, too), before (in updates and deletes), auth (id, email,
// roles, verified, token.scopes) and now. A whole record is not a value, and the name of a field is never computed, so
// that the fields an expression reads can be listed (Expr.Fields).
//
// # Errors
//
// A missing field, an order between different types (1 < "a"), an overflow, or a condition that is no bool is an
// error; == and in between different types are just false. && and || absorb an error where the other side decides.
// has(a.b) is an error, too, where a is missing or no object.
// An expression that ends in an error does not match: status != "done" leaves out records that have no status,
// !has(record.status) || record.status != "done" does not. When nobody is signed in, auth has no members: a comparison with
// auth.id is neither true nor false then.
//
// # Where it is not CEL
//
// JSON numbers are doubles, as in CEL's own mapping of JSON, but ints and doubles mix in arithmetic (the result is a
// double), % works on whole doubles, and numbers compare exactly across both. A timestamp is made from a string
// only: fields hold strings, and comparing a string with a timestamp is an error; write timestamp(record.due) > now.
// timestamp("…"), duration("…") and patterns are checked when the expression is parsed, and so are auth's members.
// has() also takes has(name) in filters and has(record["in"]). There are no maps, bytes, unsigned numbers or types as
// values. ! and - in pairs cancel each other, as in cel-go.
//
// # Use
//
// Parse makes an Expr, which any number of goroutines may share; Check compares it with a schema; Bind evaluates what
// the caller and the time decide, Both joins a filter and a rule. Compile makes a Program, with scratch memory, for
// one goroutine. A Program reads a record's top-level fields by slots (Program.Fields), so that a Source can look them
// up without their names, and allocates nothing for most records.
//
// The JSON it reads must have been made compact and canonical when it was written: no duplicate names, valid UTF-8,
// numbers that a double holds. On other JSON its results mean nothing, but it neither panics nor hangs.
package expr
