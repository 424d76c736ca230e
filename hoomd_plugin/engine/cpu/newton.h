// The last steps of a minimisation: Newton's method, its linear systems solved by conjugate
// gradients (Nocedal & Wright, Numerical Optimization, 2nd ed., algorithm 7.1). A step is taken
// only where the energy is convex along everything the solver saw, where it is small, and where
// the forces fall; otherwise nothing is changed. Part of a kernel: see kernels.cc.
#pragma once

#include "../../potentials/dual.h"
#include "../rules/strain.h"
#include "forces.h"
#include "kernels.h"

namespace amorph::engine::AMORPH_ISA {

// Components of a symmetric tensor: xx, xy, yy, and in three dimensions xz, yz, zz.
template <int D>
constexpr int tensor_size = D * (D + 1) / 2;

// The inverse of a particle's diagonal block, (d, d); where the block is not safely positive, one
// over its trace, and 0 for a particle that touches no other.
template <int D>
void invert_block(double* m) {
    const auto at = [m](int a, int b) { return m[a >= b ? a * D + b : b * D + a]; };
    double trace = 0.0;
    for (int a = 0; a < D; ++a) trace += at(a, a);
    double inverse[3][3];
    double least = 1e-6 * trace;
    double determinant;
    bool positive = at(0, 0) > least;
    if constexpr (D == 2) {
        determinant = at(0, 0) * at(1, 1) - at(0, 1) * at(0, 1);
        inverse[0][0] = at(1, 1);
        inverse[1][1] = at(0, 0);
        inverse[1][0] = inverse[0][1] = -at(0, 1);
    } else {
        positive = positive && at(0, 0) * at(1, 1) - at(0, 1) * at(0, 1) > least * trace;
        for (int a = 0; a < 3; ++a)
            for (int b = 0; b < 3; ++b) {
                const int i = (a + 1) % 3, j = (a + 2) % 3, k = (b + 1) % 3, l = (b + 2) % 3;
                inverse[a][b] = at(i, k) * at(j, l) - at(i, l) * at(j, k);
            }
        determinant = 0.0;
        for (int a = 0; a < 3; ++a) determinant += at(0, a) * inverse[0][a];
        least *= trace;
    }
    positive = positive && determinant > least * trace;
    for (int a = 0; a < D; ++a)
        for (int b = 0; b < D; ++b)
            m[a * D + b] = positive ? inverse[a][b] / determinant
                                    : (a == b && trace > 0.0 ? 1.0 / trace : 0.0);
}

// The volume's degree of freedom at fixed pressure in a linear system; `off` leaves it out.
struct Strain : StrainMotion {
    bool off;
    double stiffness = 0.0;  // d2H/d(strain)2 / unit^2
    double step = 0.0, residual = 0.0, direction = 0.0;

    AMORPH_INLINE Strain(int dimension, double volume, double max_sigma, bool left_out)
        : StrainMotion(dimension, volume, max_sigma), off(left_out) {}
};

// -u'(r)/r and its derivative with respect to r^2.
template <class Law, class Coefficients>
void force_and_slope(Pack r2, const Coefficients& c, Pack& g, Pack& slope) {
    if constexpr (std::is_same_v<Law, potentials::Table>) {
        Law::force_and_slope(r2, c, g, slope);
    } else {
        using Number = potentials::Dual<Pack>;
        Number coefficients[Law::n_coefficients];
        for (int k = 0; k < Law::n_coefficients; ++k) coefficients[k] = Number(c[k], Pack(0.0));
        Number u, of;
        Law::evaluate(Number(r2, Pack(1.0)), coefficients, u, of);
        g = of.value;
        slope = of.slope;
    }
}

// Adds the forces of all rows, and puts down the second derivatives of their pairs' energies with
// respect to their differences, which the diagonal blocks collect. With a strain, the virial, the
// second derivative of the energy along it, and the force on `coupling` that it brings about.
template <int D, bool Strained, class Rows>
void add_second_derivatives(Workspace& w, const Rows& rows, Pack& virial, Pack& stretch) {
    constexpr int S = point_stride<D>;
    constexpr int T = tensor_size<D>;
    constexpr std::integral_constant<int, D> dimension;
    const Entry* const entries = rows.entries();
    double* const tensors = rows.tensors(T);
    for (int i = 0; i < w.n; ++i) {
        Pack force[3] = {Pack(0.0), Pack(0.0), Pack(0.0)};
        Pack pulled[3] = {Pack(0.0), Pack(0.0), Pack(0.0)};
        double own[D * D] = {};
        rows.visit(i, [&](std::int64_t p, const Pack* d, Pack r2, const auto& c) {
            Pack g, slope;
            force_and_slope<typename Rows::Law>(r2, c, g, slope);
            Pack pair[3];
            for (int a = 0; a < D; ++a) {
                pair[a] = g * d[a];
                force[a] -= pair[a];
            }
            add_points(dimension, w.f, entries + p, pair);
            const Pack along = Pack(-2.0) * slope;
            double* tensor = tensors + p * T;
            for (int a = 0; a < D; ++a)
                for (int b = 0; b <= a; ++b, tensor += Pack::width) {
                    const Pack t = along * d[a] * d[b];
                    (a == b ? t - g : t).store(tensor);
                    for (int lane = 0; lane < Pack::width; ++lane) {
                        own[a * D + b] += tensor[lane];
                        w.blocks[entries[p + lane] / S * D * D + a * D + b] += tensor[lane];
                    }
                }
            if constexpr (Strained) {
                // K r along r, as all of a pair's parts across r are orthogonal to it
                const Pack pull = fma(along, r2, Pack(0.0) - g);
                virial -= g * r2;
                stretch = fma(pull, r2, stretch);
                Pack t[3];
                for (int a = 0; a < D; ++a) {
                    t[a] = pull * d[a];
                    pulled[a] -= t[a];
                }
                add_points(dimension, w.coupling, entries + p, t);
            }
        });
        for (int k = 0; k < D * D; ++k) w.blocks[i * D * D + k] += own[k];
        add_sum(dimension, w.f + S * std::int64_t(i), force);
        if constexpr (Strained) add_sum(dimension, w.coupling + S * std::int64_t(i), pulled);
    }
}

// Forces, the pairs' and bonds' second derivatives, and the inverses of the particles' diagonal
// blocks of the Hessian. With a strain, its stiffness without the volume's part, and in `coupling`
// the mixed derivatives: strained positions are r exp(strain). One function serves every box and
// table, as a minimisation calls it a few times only.
template <class Potential, int D, bool Strained>
void compute_hessian(Workspace& w, const Box& box, const PairTable& table, Strain& strain) {
    const std::int64_t bonded = w.bonds.count > 0 ? w.bond_row[w.n] : 0;
    w.reserve_tensors(std::size_t(w.row[w.n] + bonded) * tensor_size<D>);
    for (int k = 0; k < w.length; k += Pack::width) Pack(0.0).store(w.f + k);
    for (int k = 0; k < (w.n + 1) * D * D; ++k) w.blocks[k] = 0.0;
    if constexpr (Strained)
        for (int k = 0; k < w.length; k += Pack::width) Pack(0.0).store(w.coupling + k);
    Pack virial(0.0), stretch(0.0);
    add_second_derivatives<D, Strained>(w, PairRows<Potential, D, true, false>(w, box, table),
                                        virial, stretch);
    if (bonded > 0)
        add_second_derivatives<D, Strained>(w, BondRows<D, true>(w, box), virial, stretch);
    if constexpr (Strained) {
        const double trace = sum(virial);
        strain.force = -trace / strain.unit;
        strain.stiffness = (sum(stretch) + trace) / (strain.unit * strain.unit);
        for (int k = 0; k < w.length; k += Pack::width)
            (Pack(1.0 / strain.unit) * (Pack::load(w.coupling + k) - Pack::load(w.f + k)))
                .store(w.coupling + k);
    }
    for (int i = 0; i < w.n; ++i) invert_block<D>(w.blocks + i * D * D);
}

// out += what the rows' second derivatives make of in
template <int D>
void add_product(const Workspace& w, const std::int64_t* row, const Entry* entries,
                 const double* tensors, const double* in, double* out) {
    constexpr int S = point_stride<D>;
    constexpr int T = tensor_size<D>;
    constexpr std::integral_constant<int, D> dimension;
    for (int i = 0; i < w.n; ++i) {
        Pack own[3], sum_of[3];
        for (int a = 0; a < D; ++a) {
            own[a] = Pack(in[S * std::int64_t(i) + a]);
            sum_of[a] = Pack(0.0);
        }
        for (std::int64_t p = row[i]; p < row[i + 1]; p += Pack::width) {
            Pack e[3], t[3];
            load_points(dimension, in, entries + p, e);
            for (int a = 0; a < D; ++a) e[a] = e[a] - own[a];
            const double* k = tensors + p * T;
            const auto tensor = [k](int q) { return Pack::load(k + q * Pack::width); };
            if constexpr (D == 2) {
                t[0] = fma(tensor(0), e[0], tensor(1) * e[1]);
                t[1] = fma(tensor(1), e[0], tensor(2) * e[1]);
            } else {
                t[0] = fma(tensor(0), e[0], fma(tensor(1), e[1], tensor(3) * e[2]));
                t[1] = fma(tensor(1), e[0], fma(tensor(2), e[1], tensor(4) * e[2]));
                t[2] = fma(tensor(3), e[0], fma(tensor(4), e[1], tensor(5) * e[2]));
            }
            for (int a = 0; a < D; ++a) sum_of[a] -= t[a];
            add_points(dimension, out, entries + p, t);
        }
        add_sum(dimension, out + S * std::int64_t(i), sum_of);
    }
}

// out = H in
template <int D>
void hessian_product(const Workspace& w, const double* in, double* out) {
    for (int k = 0; k < w.length; k += Pack::width) Pack(0.0).store(out + k);
    add_product<D>(w, w.row, w.entries, w.tensors, in, out);
    if (w.bonds.count > 0)
        add_product<D>(w, w.bond_row, w.bond_entries, w.tensors + w.row[w.n] * tensor_size<D>, in,
                       out);
}

// out = the diagonal blocks' inverses times in; returns in . out
template <int D>
double precondition(const Workspace& w, const double* in, double* out) {
    constexpr int S = point_stride<D>;
    double product = 0.0;
    for (int i = 0; i < w.n; ++i) {
        const double* m = w.blocks + i * D * D;
        for (int a = 0; a < D; ++a) {
            double z = 0.0;
            for (int b = 0; b < D; ++b) z += m[a * D + b] * in[S * i + b];
            out[S * i + a] = z;
            product += z * in[S * i + a];
        }
    }
    return product;
}

inline double dot(const Workspace& w, const double* a, const double* b) {
    Pack s(0.0);
    for (int k = 0; k < w.length; k += Pack::width)
        s = fma(Pack::load(a + k), Pack::load(b + k), s);
    return sum(s);
}

// a += factor b
inline void add_scaled(const Workspace& w, double* a, double factor, const double* b) {
    for (int k = 0; k < w.length; k += Pack::width)
        fma(Pack(factor), Pack::load(b + k), Pack::load(a + k)).store(a + k);
}

// Largest squared length of a particle's vector.
template <int D>
double max_squared(const Workspace& w, const double* a) {
    constexpr int chunk = packs_of_points(D);
    Pack most(0.0);
    for (int k = 0; k < w.length; k += chunk * Pack::width) {
        Pack squares[chunk];
        for (int q = 0; q < chunk; ++q) {
            const Pack x = Pack::load(a + k + q * Pack::width);
            squares[q] = x * x;
        }
        most = max(most, point_squares(std::integral_constant<int, D>{}, squares));
    }
    return maximum(most);
}

// (step, strain.step) = H^-1 (F, strain.force) until the residual's largest vector is below
// `tolerance`; false where the Hessian is not positive along a direction, or `most` products did
// not do.
template <int D>
bool solve_newton(Workspace& w, Strain& strain, double tolerance, int most,
                  std::int64_t& products) {
    for (int k = 0; k < w.length; k += Pack::width) {
        Pack(0.0).store(w.step + k);
        Pack::load(w.f + k).store(w.residual + k);
    }
    strain.step = 0.0;
    strain.residual = strain.force;
    if (!strain.off && !(strain.stiffness > 0.0)) return false;
    const double softness = strain.off ? 0.0 : 1.0 / strain.stiffness;
    double weight = precondition<D>(w, w.residual, w.direction);
    strain.direction = softness * strain.residual;
    weight += strain.direction * strain.residual;
    for (int k = 0; k < most; ++k) {
        hessian_product<D>(w, w.direction, w.product);
        ++products;
        double strain_product = 0.0;
        if (!strain.off) {
            add_scaled(w, w.product, strain.direction, w.coupling);
            strain_product = dot(w, w.coupling, w.direction) + strain.stiffness * strain.direction;
        }
        const double curvature = dot(w, w.direction, w.product) + strain.direction * strain_product;
        if (!(curvature > 0.0)) return false;
        const double along = weight / curvature;
        add_scaled(w, w.step, along, w.direction);
        add_scaled(w, w.residual, -along, w.product);
        strain.step += along * strain.direction;
        strain.residual -= along * strain_product;
        if (max_squared<D>(w, w.residual) <= tolerance * tolerance &&
            strain.residual * strain.residual <= tolerance * tolerance)
            return true;
        double next = precondition<D>(w, w.residual, w.product);
        next += softness * strain.residual * strain.residual;
        const double keep = next / weight;
        weight = next;
        strain.direction = softness * strain.residual + keep * strain.direction;
        for (int q = 0; q < w.length; q += Pack::width)
            fma(Pack(keep), Pack::load(w.direction + q), Pack::load(w.product + q))
                .store(w.direction + q);
    }
    return false;
}

}  // namespace amorph::engine::AMORPH_ISA
