// SPDX-License-Identifier: EUPL-1.2

package oprf

import (
	"crypto"
	"io"

	"github.com/cloudflare/circl/expander"
	"github.com/cloudflare/circl/group"
	"github.com/gtank/ristretto255"
)

// ristretto is circl's group of RFC 9496 with other elements in it: those of
// gtank/ristretto255, which multiply faster, and can be weighed and added up in
// variable time. It has all that circl asks of a group, so what circl has for groups
// runs on it. Scalars are circl's. Its elements and those of circl's own group do not
// mix: what goes from the one to the other goes as bytes.
type ristretto struct{ group.Group }

func (ristretto) NewElement() group.Element { return &element{*ristretto255.NewIdentityElement()} }

func (g ristretto) Identity() group.Element { return g.NewElement() }

func (ristretto) Generator() group.Element { return &element{*ristretto255.NewGeneratorElement()} }

func (g ristretto) RandomElement(rnd io.Reader) group.Element {
	return g.NewElement().MulGen(g.RandomScalar(rnd))
}

// HashToElement is hash_to_ristretto255 with expand_message_xmd and SHA-512 (RFC
// 9380 appendix B), as the suite asks.
func (ristretto) HashToElement(msg, dst []byte) group.Element {
	e := new(element)
	if _, err := e.p.SetUniformBytes(expander.NewExpanderMD(crypto.SHA512, dst).Expand(msg, 64)); err != nil {
		panic(err) // the expander gave another length than it was asked
	}
	return e
}

func (g ristretto) HashToElementNonUniform(msg, dst []byte) group.Element {
	return g.HashToElement(msg, dst)
}

// element implements group.Element. All its methods are constant-time.
type element struct{ p ristretto255.Element }

func point(e group.Element) *ristretto255.Element { return &e.(*element).p }

func (*element) Group() group.Group { return curve }

func (e *element) Set(x group.Element) group.Element {
	e.p.Set(point(x))
	return e
}

func (e *element) Copy() group.Element { return new(element).Set(e) }

func (e *element) IsIdentity() bool { return e.p.Equal(ristretto255.NewIdentityElement()) == 1 }

func (e *element) IsEqual(x group.Element) bool { return e.p.Equal(point(x)) == 1 }

func (e *element) CMov(v int, x group.Element) group.Element { return e.CSelect(v, x, e) }

// CSelect is v·x + (1-v)·y, since the library has no selection of its own.
func (e *element) CSelect(v int, x, y group.Element) group.Element {
	if v != 0 && v != 1 {
		panic(group.ErrSelector)
	}
	e.p.MultiScalarMult(
		[]*ristretto255.Scalar{scalarFrom(scalarOf(v)), scalarFrom(scalarOf(1 - v))},
		[]*ristretto255.Element{point(x), point(y)})
	return e
}

func (e *element) Add(x, y group.Element) group.Element {
	e.p.Add(point(x), point(y))
	return e
}

func (e *element) Dbl(x group.Element) group.Element { return e.Add(x, x) }

func (e *element) Neg(x group.Element) group.Element {
	e.p.Negate(point(x))
	return e
}

func (e *element) Mul(x group.Element, s group.Scalar) group.Element {
	e.p.ScalarMult(scalarFrom(s), point(x))
	return e
}

func (e *element) MulGen(s group.Scalar) group.Element {
	e.p.ScalarBaseMult(scalarFrom(s))
	return e
}

func (e *element) MarshalBinary() ([]byte, error) { return e.p.Bytes(), nil }

func (e *element) MarshalBinaryCompress() ([]byte, error) { return e.MarshalBinary() }

func (e *element) UnmarshalBinary(b []byte) error {
	_, err := e.p.SetCanonicalBytes(b)
	return err
}

// scalarFrom takes a scalar of circl's to where elements are multiplied.
func scalarFrom(s group.Scalar) *ristretto255.Scalar {
	b, err := s.MarshalBinary()
	if err != nil {
		panic(err)
	}
	defer clear(b)
	out, err := ristretto255.NewScalar().SetCanonicalBytes(b)
	if err != nil {
		panic(err) // circl's scalars are always reduced
	}
	return out
}
