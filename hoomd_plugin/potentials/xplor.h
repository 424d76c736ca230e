// The XPLOR switch, in the form of HOOMD-blue's `xplor` mode:
//   S = 1 for r < r_on,
//   S = (r_cut^2 - r^2)^2 (r_cut^2 + 2 r^2 - 3 r_on^2) / (r_cut^2 - r_on^2)^3 up to r_cut,
//   S = 0 beyond.
// With t = (r_cut^2 - r^2) / (r_cut^2 - r_on^2), held between 0 and 1, it is t^2 (3 - 2 t).
#pragma once

#include "real.h"

namespace amorph::potentials {

template <class Real>
struct XplorSwitch {
    Real inside;     // r_cut^2 - r^2: positive below r_cut
    Real value;      // S, for r < r_cut
    Real steepness;  // t (1 - t): (dS/dr) / r is -12 / (r_cut^2 - r_on^2) times this
};

// `inverse_width` is 1 / (r_cut^2 - r_on^2).
template <class Real>
AMORPH_HOSTDEVICE inline XplorSwitch<Real> xplor(Real r_squared, Real r_cut_squared,
                                                 Real inverse_width) {
    const Real to_cut = r_cut_squared - r_squared;
    const Real t = smaller(to_cut * inverse_width, Real(1));
    const Real t_squared = t * t;
    return {to_cut, t_squared * (Real(3) - Real(2) * t), t - t_squared};
}

// In the place of r_cut^2 and of the inverse width they leave S = 1 at any distance, in single
// precision too: for callers that switch by themselves.
constexpr double never_cut_squared = 1e30;
constexpr double no_width = 1.0;

}  // namespace amorph::potentials
