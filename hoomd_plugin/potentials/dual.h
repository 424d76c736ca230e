// A value and its derivative: a potential evaluated with these instead of reals gives its second
// derivative without a formula of its own.
#pragma once

#include "real.h"

namespace amorph::potentials {

template <class Real>
struct Dual {
    Real value;
    Real slope;

    Dual() = default;
    AMORPH_HOSTDEVICE Dual(double x) : value(x), slope(0.0) {}
    AMORPH_HOSTDEVICE Dual(Real v, Real s) : value(v), slope(s) {}
};

template <class Real>
AMORPH_HOSTDEVICE inline Dual<Real> operator+(Dual<Real> a, Dual<Real> b) {
    return {a.value + b.value, a.slope + b.slope};
}
template <class Real>
AMORPH_HOSTDEVICE inline Dual<Real> operator-(Dual<Real> a, Dual<Real> b) {
    return {a.value - b.value, a.slope - b.slope};
}
template <class Real>
AMORPH_HOSTDEVICE inline Dual<Real> operator*(Dual<Real> a, Dual<Real> b) {
    return {a.value * b.value, a.value * b.slope + a.slope * b.value};
}
template <class Real>
AMORPH_HOSTDEVICE inline Dual<Real> operator/(Dual<Real> a, Dual<Real> b) {
    const Real q = a.value / b.value;
    return {q, (a.slope - q * b.slope) / b.value};
}
template <class Real>
AMORPH_HOSTDEVICE inline auto operator>(Dual<Real> a, Dual<Real> b) {
    return a.value > b.value;
}
template <class Real>
AMORPH_HOSTDEVICE inline auto operator<(Dual<Real> a, Dual<Real> b) {
    return a.value < b.value;
}
template <class Condition, class Real>
AMORPH_HOSTDEVICE inline Dual<Real> select(Condition c, Dual<Real> yes, Dual<Real> no) {
    return {select(c, yes.value, no.value), select(c, yes.slope, no.slope)};
}
template <class Real>
AMORPH_HOSTDEVICE inline Dual<Real> larger(Dual<Real> a, Dual<Real> b) {
    return select(a > b, a, b);
}
template <class Real>
AMORPH_HOSTDEVICE inline Dual<Real> smaller(Dual<Real> a, Dual<Real> b) {
    return select(a < b, a, b);
}
template <class Real>
AMORPH_HOSTDEVICE inline Dual<Real> inverse_square_root(Dual<Real> a) {
    const Real y = inverse_square_root(a.value);
    return {y, Real(-0.5) * y * y * y * a.slope};
}
template <class Real>
AMORPH_HOSTDEVICE inline Dual<Real> square_root(Dual<Real> a) {
    const Real y = square_root(a.value);
    return {y, Real(0.5) * a.slope / y};
}
template <class Real>
AMORPH_HOSTDEVICE inline Dual<Real> exponential(Dual<Real> a) {
    const Real y = exponential(a.value);
    return {y, y * a.slope};
}

}  // namespace amorph::potentials
