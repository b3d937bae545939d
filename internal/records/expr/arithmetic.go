package expr

import "math"

// arithmetic compiles + - * / %.
func (c *compiler) arithmetic(n *Node) load {
	loadA, loadB := c.load(n.Args[0]), c.load(n.Args[1])
	a, b := new(Value), new(Value)
	var joined []Value // the room for the list that + makes
	return func(p *Program, out *Value) bool {
		if !loadA(p, a) || !loadB(p, b) {
			return false
		}
		r := noOperation
		switch {
		case a.typ == TypeInt && b.typ == TypeInt:
			r = integers(n.Op, out, a.Int(), b.Int())
		case a.Number() && b.Number():
			r = doubles(n.Op, out, a.float(), b.float())
		case a.typ >= TypeTimestamp && a.typ <= TypeDuration && b.typ >= TypeTimestamp && b.typ <= TypeDuration:
			r = times(n.Op, out, a, b)
		case n.Op == Add && a.typ == TypeString && b.typ == TypeString:
			// Copied to memory that may be new: dearer than walking.
			if p.charge((len(a.b) + len(b.b)) / 4) {
				start := len(p.scratch)
				p.scratch = append(append(p.scratch, a.b...), b.b...)
				out.typ, out.b = TypeString, p.scratch[start:len(p.scratch):len(p.scratch)]
				return true
			}
		case n.Op == Add && a.typ == TypeList && b.typ == TypeList:
			joined = joined[:0]
			for _, list := range [2]*Value{a, b} {
				var v Value
				for it := (iterator{of: list}); p.charge(4) && it.next(p, &v); {
					joined = append(joined, v)
				}
			}
			out.typ, out.b, out.list = TypeList, nil, joined
			return true
		}
		if r != noFault {
			p.fail(r, n, a.typ, b.typ)
			return false
		}
		return true
	}
}

func integers(op Op, out *Value, a, b int64) reason {
	var c int64
	ok := true
	switch op {
	case Add:
		c, ok = add(a, b)
	case Subtract:
		c, ok = subtract(a, b)
	case Multiply:
		c, ok = multiply(a, b)
	case Divide, Modulo:
		switch {
		case b == 0:
			return divisionByZero
		case a == math.MinInt64 && b == -1:
			return overflow
		case op == Divide:
			c = a / b
		default:
			c = a % b
		}
	}
	if !ok {
		return overflow
	}
	out.setInt(c)
	return noFault
}

// doubles also serves an int and a double, where CEL has no operation: the result is a double.
func doubles(op Op, out *Value, a, b float64) reason {
	switch op {
	case Add:
		out.setDouble(a + b)
	case Subtract:
		out.setDouble(a - b)
	case Multiply:
		out.setDouble(a * b)
	case Divide:
		out.setDouble(a / b)
	case Modulo:
		switch {
		case a != math.Trunc(a) || b != math.Trunc(b) || math.IsInf(a, 0) || math.IsInf(b, 0):
			return notWhole
		case b == 0:
			return divisionByZero
		}
		out.setDouble(math.Mod(a, b))
	}
	return noFault
}

func times(op Op, out, a, b *Value) reason {
	ok := false
	switch {
	case op == Add && a.typ == TypeTimestamp && b.typ == TypeDuration:
		ok = addTime(out, a, b.Int())
	case op == Add && a.typ == TypeDuration && b.typ == TypeTimestamp:
		ok = addTime(out, b, a.Int())
	case op == Subtract && a.typ == TypeTimestamp && b.typ == TypeDuration:
		ok = b.Int() != math.MinInt64 && addTime(out, a, -b.Int())
	case op == Subtract && a.typ == TypeTimestamp && b.typ == TypeTimestamp:
		ok = subTime(out, a, b)
	case a.typ == TypeDuration && b.typ == TypeDuration && (op == Add || op == Subtract):
		var d int64
		if op == Add {
			d, ok = add(a.Int(), b.Int())
		} else {
			d, ok = subtract(a.Int(), b.Int())
		}
		out.typ, out.num = TypeDuration, uint64(d)
	default:
		return noOperation
	}
	if !ok {
		return overflow
	}
	return noFault
}

func (p *Program) negate(n *Node, v *Value) bool {
	switch {
	case v.typ == TypeDouble:
		v.setDouble(-v.float())
	case (v.typ == TypeInt || v.typ == TypeDuration) && v.Int() == math.MinInt64:
		p.fail(overflow, n)
		return false
	case v.typ == TypeInt || v.typ == TypeDuration:
		v.num = uint64(-v.Int())
	default:
		p.fail(noFunction, n, v.typ)
		return false
	}
	return true
}
