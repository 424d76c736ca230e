// A spring between two particles that are listed by name: u(r) = (k/2) (r - l)^2, at any distance.
#pragma once

#include "real.h"

namespace amorph::potentials {

struct Spring {
    enum Coefficient { stiffness, length, n_coefficients };

    // Energy and -u'(r)/r; nothing where the stiffness is 0, at any r: so are the ghosts'.
    template <class Real>
    AMORPH_HOSTDEVICE static void evaluate(Real r_squared, const Real* c, Real& energy,
                                           Real& force_over_r) {
        const Real inverse_r = inverse_square_root(r_squared);
        const Real stretch = r_squared * inverse_r - c[length];
        const auto there = c[stiffness] > Real(0);
        energy = select(there, Real(0.5) * c[stiffness] * stretch * stretch, Real(0));
        force_over_r = select(there, Real(0) - c[stiffness] * stretch * inverse_r, Real(0));
    }
};

}  // namespace amorph::potentials
