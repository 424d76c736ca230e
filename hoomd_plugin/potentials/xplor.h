// The XPLOR switch, in the form of HOOMD-blue's `xplor` mode:
//   S = 1 for r < r_on,
//   S = (r_cut^2 - r^2)^2 (r_cut^2 + 2 r^2 - 3 r_on^2) / (r_cut^2 - r_on^2)^3 up to r_cut,
//   S = 0 beyond.
#pragma once

#include "real.h"

namespace amorph::potentials {

template <class Real>
struct XplorSwitch {
    Real value;
    Real slope_over_r;  // (dS/dr) / r: free of a division by r
};

// For r^2 < r_cut^2; `inverse_width_cubed` is 1 / (r_cut^2 - r_on^2)^3.
template <class Real>
AMORPH_HOSTDEVICE inline XplorSwitch<Real> xplor(Real r_squared, Real r_on_squared,
                                                 Real r_cut_squared, Real inverse_width_cubed) {
    const Real to_cut = r_cut_squared - r_squared;
    const Real past_on = r_squared - r_on_squared;
    const auto switching = past_on > Real(0);
    const Real value = to_cut * to_cut * (to_cut + Real(3) * past_on) * inverse_width_cubed;
    const Real slope = Real(-12) * to_cut * past_on * inverse_width_cubed;
    return {select(switching, value, Real(1)), select(switching, slope, Real(0))};
}

}  // namespace amorph::potentials
