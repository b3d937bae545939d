package expr

import "bytes"

// call compiles the functions that yield other values than bools; nil for the others.
func (c *compiler) call(n *Node) load {
	switch n.Name {
	case "size", "lowerAscii", "timestamp", "duration":
	default:
		return nil
	}
	arg, v := c.load(n.Args[0]), new(Value)
	return func(p *Program, out *Value) bool {
		if !arg(p, v) {
			return false
		}
		p.charge(walking(v.b))
		switch {
		case n.Name == "size":
			if count, ok := v.size(); ok {
				out.setInt(int64(count))
				return true
			}
		case n.Name == "timestamp" && v.typ == TypeTimestamp, n.Name == "duration" && v.typ == TypeDuration:
			*out = *v
			return true
		case v.typ != TypeString:
		case n.Name == "lowerAscii":
			start := len(p.scratch)
			for _, b := range v.b {
				if b-'A' < 26 {
					b += 'a' - 'A'
				}
				p.scratch = append(p.scratch, b)
			}
			out.typ, out.b = TypeString, p.scratch[start:len(p.scratch):len(p.scratch)]
			return true
		case n.Name == "timestamp":
			sec, nano, ok := parseTimestamp(v.b)
			if !ok {
				p.fail(badTimestamp, n)
				return false
			}
			out.typ, out.num, out.nano = TypeTimestamp, uint64(sec), nano
			return true
		case n.Name == "duration":
			d, ok := parseDuration(v.b)
			if !ok {
				p.fail(badDuration, n)
				return false
			}
			out.typ, out.num = TypeDuration, uint64(d)
			return true
		}
		p.fail(noFunction, n, v.typ)
		return false
	}
}

// stringTest compiles the functions of strings that yield a bool; nil for the others.
func (c *compiler) stringTest(n *Node) test {
	var holds func(p *Program, s, arg []byte) bool
	switch n.Name {
	case "startsWith":
		holds = func(_ *Program, s, arg []byte) bool { return bytes.HasPrefix(s, arg) }
	case "endsWith":
		holds = func(_ *Program, s, arg []byte) bool { return bytes.HasSuffix(s, arg) }
	case "contains":
		holds = func(p *Program, s, arg []byte) bool { return p.charge(walking(s)) && bytes.Contains(s, arg) }
	case "matches":
		cost := 1 + n.reSize/8
		holds = func(p *Program, s, _ []byte) bool { return p.charge(len(s)*cost) && n.re.Match(s) }
	default:
		return nil
	}
	loadS, loadArg := c.load(n.Args[0]), c.load(n.Args[1])
	s, arg := new(Value), new(Value)
	return func(p *Program) tri {
		if !loadS(p, s) || !loadArg(p, arg) {
			return failed
		}
		if s.typ != TypeString {
			return p.fail(noFunction, n, s.typ)
		}
		if arg.typ != TypeString {
			return p.fail(noFunction, n, arg.typ)
		}
		return triOf(holds(p, s.b, arg.b))
	}
}
