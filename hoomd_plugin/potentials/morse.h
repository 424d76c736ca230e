// Morse potential, cut smoothly:
//
//   u(r) = B [exp(-2 a (r - sigma)) - 2 exp(-a (r - sigma))] S(r)
//
// with sigma = (D_i + D_j)/2, and S the XPLOR switch between sigma + 5/a and sigma + 9.9/a, as in
// the harmonic-Morse potential. Source: "Designing self-assembling kinetics with differentiable
// statistical physics models", the interaction of its clusters; it gives no cutoff.
#pragma once

#include "amorph_manifest.h"
#include "xplor.h"

namespace amorph::potentials {

struct Morse : manifest::Morse {
    enum Coefficient {
        alpha_sigma,
        alpha,
        pull,  // 2 a B
        r_cut_squared,
        inverse_width,
        steepness,
        half_inverse_alpha,
        n_coefficients
    };

    static void uncut(double* c) {
        c[r_cut_squared] = never_cut_squared;
        c[inverse_width] = no_width;
    }
    // At the bottom of the well; the wall below it is steeper.
    static double max_stiffness(const double* p) { return 2.0 * p[2] * p[2] * p[1]; }

    static void coefficients(const double* p, double* c) {
        const double width = r_cut(p) * r_cut(p) - r_on(p) * r_on(p);
        c[alpha_sigma] = p[2] * p[0];
        c[alpha] = p[2];
        c[pull] = 2.0 * p[2] * p[1];
        c[r_cut_squared] = r_cut(p) * r_cut(p);
        c[inverse_width] = 1.0 / width;
        c[steepness] = 6.0 / (p[2] * width);
        c[half_inverse_alpha] = 0.5 / p[2];
    }

    // Energy and -u'(r)/r of one pair; both vanish at and beyond the cutoff.
    template <class Real>
    AMORPH_HOSTDEVICE static void evaluate(Real r_squared, const Real* c, Real& energy,
                                           Real& force_over_r) {
        const Real inverse_r = inverse_square_root(r_squared);
        const Real decay = exponential(c[alpha_sigma] - c[alpha] * (r_squared * inverse_r));
        const auto s = xplor(r_squared, c[r_cut_squared], c[inverse_width]);
        const auto inside = s.inside > Real(0);
        const Real pulled = c[pull] * decay;
        const Real well = pulled * (decay - Real(2));  // 2 a times its energy
        energy = select(inside, c[half_inverse_alpha] * well * s.value, Real(0));
        force_over_r = select(
            inside,
            pulled * (decay - Real(1)) * s.value * inverse_r + well * (c[steepness] * s.steepness),
            Real(0));
    }
};

}  // namespace amorph::potentials
