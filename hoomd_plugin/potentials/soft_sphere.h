// Soft spheres, purely repulsive: u(r) = (k/2) (1 - r/sigma)^2 for r < sigma, 0 beyond, with
// sigma = (D_i + D_j)/2. Source: "Fully independent response in disordered solids", eq. 1 with
// B = 0.
#pragma once

#include "amorph_manifest.h"
#include "real.h"

namespace amorph::potentials {

struct SoftSphere : manifest::SoftSphere {
    enum Coefficient { sigma, stiffness, r_cut_squared, n_coefficients };

    static void uncut(double*) {}  // it ends by itself
    static double max_stiffness(const double* p) { return p[1] / (p[0] * p[0]); }

    static void coefficients(const double* p, double* c) {
        c[sigma] = p[0];
        c[stiffness] = p[1] / (p[0] * p[0]);
        c[r_cut_squared] = p[0] * p[0];
    }

    // Energy and -u'(r)/r of one pair; both vanish at and beyond contact.
    template <class Real>
    AMORPH_HOSTDEVICE static void evaluate(Real r_squared, const Real* c, Real& energy,
                                           Real& force_over_r) {
        const Real inverse_r = inverse_square_root(r_squared);
        const Real overlap = c[sigma] - r_squared * inverse_r;
        const auto inside = r_squared < c[r_cut_squared];
        energy = select(inside, Real(0.5) * c[stiffness] * overlap * overlap, Real(0));
        force_over_r = select(inside, c[stiffness] * overlap * inverse_r, Real(0));
    }
};

}  // namespace amorph::potentials
