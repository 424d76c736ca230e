// Harmonic-Morse pair potential: a harmonic core joined to a Morse well at r = sigma.
//
//   u(r) = (k/2) (sigma - r)^2 - B                              r <  sigma
//   u(r) = B [exp(-2 a (r - sigma)) - 2 exp(-a (r - sigma))] S(r)   r >= sigma
//
// with sigma = (D_i + D_j)/2, and S the XPLOR switch between r_on = sigma + 5/a and
// r_cut = sigma + 9.9/a. Source: "Designing athermal disordered solids with automatic
// differentiation", eq. 1 (the figures 5 and 9.9 are its published code's). The reduced form
// writes the core as (k/2) (1 - r/sigma)^2 - B: "Fully independent response in disordered
// solids", eq. 1, which gives no cutoff; the same one is used.
#pragma once

#include "xplor.h"

namespace amorph::potentials {

// What both forms share once the core's stiffness is known as u'' = k.
struct HarmonicMorseShape {
    enum Coefficient {
        sigma,
        stiffness,
        binding,
        alpha,
        r_on_squared,
        r_cut_squared,
        inverse_width_cubed,
        n_coefficients
    };
    static constexpr double onset = 5.0;   // (r_on - sigma) a
    static constexpr double cutoff = 9.9;  // (r_cut - sigma) a

    static void shape(double sigma_, double stiffness_, double binding_, double alpha_, double* c) {
        const double r_on = sigma_ + onset / alpha_;
        const double r_cut = sigma_ + cutoff / alpha_;
        const double width = r_cut * r_cut - r_on * r_on;
        c[sigma] = sigma_;
        c[stiffness] = stiffness_;
        c[binding] = binding_;
        c[alpha] = alpha_;
        c[r_on_squared] = r_on * r_on;
        c[r_cut_squared] = r_cut * r_cut;
        c[inverse_width_cubed] = 1.0 / (width * width * width);
    }

    // The stiffest u'' of the pair: the core's k or the well's 2 a^2 B.
    static double max_stiffness(const double* c) {
        const double well = 2.0 * c[alpha] * c[alpha] * c[binding];
        return c[stiffness] > well ? c[stiffness] : well;
    }

    // Energy and -u'(r)/r of one pair; both vanish at and beyond the cutoff (and for a NaN).
    template <class Real>
    AMORPH_HOSTDEVICE static void evaluate(Real r_squared, const Real* c, Real& energy,
                                           Real& force_over_r) {
        const Real r = square_root(r_squared);
        const Real inverse_r = Real(1) / r;
        const Real overlap = c[sigma] - r;
        const auto core = overlap > Real(0);
        // In the core the exponential is not used: keep its argument from growing.
        const Real decay = exponential(c[alpha] * select(core, Real(0), overlap));
        const auto s = xplor(r_squared, c[r_on_squared], c[r_cut_squared], c[inverse_width_cubed]);
        const Real well = c[binding] * decay * (decay - Real(2));
        const Real well_force = Real(2) * c[alpha] * c[binding] * decay * (decay - Real(1));
        const Real core_energy = Real(0.5) * c[stiffness] * overlap * overlap - c[binding];
        const Real core_force = c[stiffness] * overlap * inverse_r;
        const auto inside = r_squared < c[r_cut_squared];
        energy = select(inside, select(core, core_energy, well * s.value), Real(0));
        force_over_r = select(
            inside,
            select(core, core_force, well_force * s.value * inverse_r - well * s.slope_over_r),
            Real(0));
    }
};

struct HarmonicMorse : HarmonicMorseShape {
    static constexpr const char* name = "harmonic_morse";
    // After sigma, the parameters of a pair of types in the order `coefficients` takes them.
    static constexpr const char* pair_parameters[] = {"binding", "stiffness", "alpha"};

    static void coefficients(const double* p, double* c) { shape(p[0], p[2], p[1], p[3], c); }
};

struct HarmonicMorseReduced : HarmonicMorseShape {
    static constexpr const char* name = "harmonic_morse_reduced";
    static constexpr const char* pair_parameters[] = {"binding", "stiffness", "alpha"};

    // (k/2)(1 - r/sigma)^2 is a core of stiffness k/sigma^2.
    static void coefficients(const double* p, double* c) {
        shape(p[0], p[2] / (p[0] * p[0]), p[1], p[3], c);
    }
};

}  // namespace amorph::potentials
