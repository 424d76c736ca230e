// The potential under which one kind of particle forms a honeycomb lattice:
//
//   u(r) = [b0/r^12 - a0/r^10 + a1 exp(-a2 r) - b1 exp(-b2 (r - a3)^2)] S(r)
//
// with S the XPLOR switch between 0.8 r_cut and r_cut. Source: "Designing self-assembling kinetics
// with differentiable statistical physics models", eq. 1, after Rechtsman, Stillinger and Torquato,
// Phys. Rev. Lett. 95, 228301 (2005); neither is cut, r_cut and the switch are ours.
#pragma once

#include "amorph_manifest.h"
#include "dual.h"
#include "xplor.h"

namespace amorph::potentials {

struct FourTerm : manifest::FourTerm {
    enum Coefficient { b0, a0, a1, a2, b1, b2, a3, r_cut_squared, inverse_width, n_coefficients };

    static void uncut(double* c) {
        c[r_cut_squared] = never_cut_squared;
        c[inverse_width] = no_width;
    }

    static void coefficients(const double* p, double* c) {
        for (int k = 0; k < 7; ++k) c[k] = p[1 + k];
        c[r_cut_squared] = p[8] * p[8];
        c[inverse_width] = 1.0 / (c[r_cut_squared] * (1.0 - r_on_times_r_cut * r_on_times_r_cut));
    }

    // The largest |u''| from a little inside the first minimum on: the wall below is steeper
    // without bound. 0.95 of the distance, in a table of 1000 from the cutoff inwards.
    static double max_stiffness(const double* p) {
        using Number = Dual<double>;
        double plain[n_coefficients];
        Number c[n_coefficients];
        coefficients(p, plain);
        for (int k = 0; k < n_coefficients; ++k) c[k] = Number(plain[k], 0.0);
        constexpr int steps = 1000;
        const auto at = [&](double r, double& u, double& second) {
            Number energy, force;
            evaluate(Number(r * r, 1.0), c, energy, force);
            u = energy.value;
            second = -force.value - 2.0 * r * r * force.slope;
        };
        double lowest = 1e300, where = p[8], u, second;
        for (int k = 1; k < steps; ++k) {
            const double r = p[8] * k / steps;
            at(r, u, second);
            if (u < lowest) {
                lowest = u;
                where = r;
            }
        }
        double most = 0.0;
        for (int k = 0; k <= steps; ++k) {
            at(0.95 * where + (p[8] - 0.95 * where) * k / steps, u, second);
            const double size = second > 0.0 ? second : -second;
            if (size > most) most = size;
        }
        return most;
    }

    // Energy and -u'(r)/r of one pair; both vanish at and beyond the cutoff.
    template <class Real>
    AMORPH_HOSTDEVICE static void evaluate(Real r_squared, const Real* c, Real& energy,
                                           Real& force_over_r) {
        const Real inverse_r = inverse_square_root(r_squared);
        const Real r = r_squared * inverse_r;
        const Real i2 = inverse_r * inverse_r;
        const Real i4 = i2 * i2;
        const Real i10 = i4 * i4 * i2;
        const Real soft = c[a1] * exponential(smaller(Real(0) - c[a2] * r, Real(700)));
        const Real off = r - c[a3];
        // Held where the exponential can follow; it is nothing long before.
        const Real hill = c[b1] * exponential(larger(Real(0) - c[b2] * off * off, Real(-700)));
        const Real u = c[b0] * i10 * i2 - c[a0] * i10 + soft - hill;
        const Real pushed = (Real(12) * c[b0] * i2 - Real(10) * c[a0]) * i10 * i2 +
                            (c[a2] * soft - Real(2) * c[b2] * off * hill) * inverse_r;
        const auto s = xplor(r_squared, c[r_cut_squared], c[inverse_width]);
        const auto inside = s.inside > Real(0);
        energy = select(inside, u * s.value, Real(0));
        force_over_r = select(
            inside, pushed * s.value + u * (Real(12) * c[inverse_width] * s.steepness), Real(0));
    }
};

}  // namespace amorph::potentials
