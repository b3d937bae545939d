package schema

import (
	"net/url"
	"strings"

	"croft/internal/records/rawjson"
)

// references finds what each "$ref" stands for. Only this schema is looked at.
func (p *parser) references(raw []byte) {
	for _, n := range p.nodes {
		for i := range n.refs {
			r := &n.refs[i]
			r.target = p.resolve(raw, r.text, n.pointer+"/"+r.keyword)
			if r.keyword == "$ref" {
				n.ref = r.target
			}
		}
	}
}

func (p *parser) resolve(raw []byte, ref, at string) *node {
	base, fragment, _ := strings.Cut(ref, "#")
	if base != "" && base != p.rootID {
		p.problem(at, "remote_ref", `refers to %q, which is outside of this schema: nothing is ever fetched; copy it into "$defs" and refer to "#/$defs/…"`, clip(ref))
		return nil
	}
	fragment, err := url.PathUnescape(fragment)
	if err != nil {
		p.problem(at, "bad_ref", "is not a valid reference: a %% must be followed by two hexadecimal digits")
		return nil
	}
	if fragment != "" && fragment[0] != '/' {
		target := p.anchors[fragment]
		if target == nil {
			p.problem(at, "bad_ref", `refers to %q, but no "$anchor" has this name`, clip(ref))
		}
		return target
	}
	path, ok := rawjson.SplitPointer(fragment)
	if !ok {
		p.problem(at, "bad_ref", "is not a valid reference: ~ must be followed by 0 or 1")
		return nil
	}
	if target := p.byPointer[rawjson.Pointer(path...)]; target != nil {
		return target
	}
	if lookup(raw, path) != nil {
		p.problem(at, "bad_ref", "refers to %q, which is there but not as a schema", clip(ref))
	} else {
		p.problem(at, "bad_ref", "refers to %q, which is not there", clip(ref))
	}
	return nil
}

// lookup is the value at a path of names and indexes, nil when there is none.
func lookup(raw []byte, path []string) []byte {
	for _, segment := range path {
		switch rawjson.KindOf(raw) {
		case rawjson.Object:
			raw = rawjson.Get(raw, segment)
		case rawjson.Array:
			raw = element(raw, segment)
		default:
			return nil
		}
	}
	return raw
}

func element(raw []byte, index string) []byte {
	i := 0
	for it := rawjson.Elements(raw); it.Next(); i++ {
		if itoa(i) == index {
			return it.Value()
		}
	}
	return nil
}
