// Harmonic-Morse pair potential: a harmonic core joined to a Morse well at r = sigma.
//
//   u(r) = (k/2) (sigma - r)^2 - B                              r <  sigma
//   u(r) = B [exp(-2 a (r - sigma)) - 2 exp(-a (r - sigma))] S(r)   r >= sigma
//
// with sigma = (D_i + D_j)/2, and S the XPLOR switch between r_on = sigma + 5/a and
// r_cut = sigma + 9.9/a. Source: "Designing athermal disordered solids with automatic
// differentiation", eq. 1 (5 and 9.9, which stand in potentials.json, are its published code's).
// The reduced form writes the core as (k/2) (1 - r/sigma)^2 - B: "Fully independent response in
// disordered solids", eq. 1, which gives no cutoff; the same one is used.
#pragma once

#include "amorph_manifest.h"
#include "xplor.h"

namespace amorph::potentials {

// What both forms share once the core's stiffness is known as u'' = k. Parameters p: sigma,
// binding B, stiffness k, alpha a.
struct HarmonicMorseShape {
    enum Coefficient {
        alpha_sigma,
        alpha,
        core,           // k / a: the core's force is this times a (sigma - r)
        pull,           // 2 a B
        r_cut_squared,  // of the switch
        inverse_width,  // of the switch
        steepness,      // 6 / a of its inverse width: what the well's energy over B and
                        // its slope have as common factor with `pull`
        half_inverse_alpha,
        n_coefficients
    };
    static void uncut(double* c) {
        c[r_cut_squared] = never_cut_squared;
        c[inverse_width] = no_width;
    }

    static void shape(const double* p, double k, double r_on, double r_cut, double* c) {
        const double width = r_cut * r_cut - r_on * r_on;
        c[alpha_sigma] = p[3] * p[0];
        c[alpha] = p[3];
        c[core] = k / p[3];
        c[pull] = 2.0 * p[3] * p[1];
        c[r_cut_squared] = r_cut * r_cut;
        c[inverse_width] = 1.0 / width;
        c[steepness] = 6.0 / (p[3] * width);
        c[half_inverse_alpha] = 0.5 / p[3];
    }

    // The stiffest u'' of the pair: the core's k or the well's 2 a^2 B.
    static double stiffest(const double* p, double k) {
        const double well = 2.0 * p[3] * p[3] * p[1];
        return k > well ? k : well;
    }

    // Energy and -u'(r)/r of one pair; both vanish at and beyond the cutoff. The core and the well
    // are summed, not chosen from: below sigma the well stands at its bottom, -B without force.
    template <class Real>
    AMORPH_HOSTDEVICE static void evaluate(Real r_squared, const Real* c, Real& energy,
                                           Real& force_over_r) {
        const Real inverse_r = inverse_square_root(r_squared);
        const Real x = c[alpha_sigma] - c[alpha] * (r_squared * inverse_r);  // a (sigma - r)
        const Real overlap = larger(x, Real(0));
        const Real decay = exponential(smaller(x, Real(0)));
        const auto s = xplor(r_squared, c[r_cut_squared], c[inverse_width]);
        const auto inside = s.inside > Real(0);
        const Real pull_ = c[pull] * decay;
        const Real well = pull_ * (decay - Real(2));  // 2 a times its energy
        const Real push = c[core] * overlap;
        energy = select(inside, c[half_inverse_alpha] * (well * s.value + push * overlap), Real(0));
        force_over_r = select(inside,
                              (pull_ * (decay - Real(1)) * s.value + push) * inverse_r +
                                  well * (c[steepness] * s.steepness),
                              Real(0));
    }
};

struct HarmonicMorse : HarmonicMorseShape, manifest::HarmonicMorse {
    using Formula = HarmonicMorseShape;
    static void coefficients(const double* p, double* c) { shape(p, p[2], r_on(p), r_cut(p), c); }
    static double max_stiffness(const double* p) { return stiffest(p, p[2]); }
};

struct HarmonicMorseReduced : HarmonicMorseShape, manifest::HarmonicMorseReduced {
    using Formula = HarmonicMorseShape;
    // (k/2)(1 - r/sigma)^2 is a core of stiffness k/sigma^2.
    static double core_stiffness(const double* p) { return p[2] / (p[0] * p[0]); }
    static void coefficients(const double* p, double* c) {
        shape(p, core_stiffness(p), r_on(p), r_cut(p), c);
    }
    static double max_stiffness(const double* p) { return stiffest(p, core_stiffness(p)); }
};

}  // namespace amorph::potentials
