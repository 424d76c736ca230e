// What the algorithms are compiled for: every potential, two and three dimensions, one to four
// lanes a particle.
#pragma once

#include <stdexcept>
#include <type_traits>

#include "../../potentials/potentials.h"

namespace amorph::engine::device {

// What there is to evaluate of a potential: those that share it share their kernels.
template <class Potential>
struct FormulaOf {
    using type = Potential;
};
template <class Potential>
    requires requires { typename Potential::Formula; }
struct FormulaOf<Potential> {
    using type = typename Potential::Formula;
};

// The formula of a potential by its index in potentials::All.
template <int P, class First, class... Rest>
constexpr auto formula_at(potentials::List<First, Rest...>) {
    if constexpr (P == 0)
        return std::type_identity<typename FormulaOf<First>::type>{};
    else
        return formula_at<P - 1>(potentials::List<Rest...>{});
}
template <int P>
using FormulaAt = typename decltype(formula_at<P>(potentials::All{}))::type;

// The index of the first potential with the formula of another.
template <int P, int First = 0>
constexpr int compiled_as() {
    if constexpr (std::is_same_v<FormulaAt<First>, FormulaAt<P>>)
        return First;
    else
        return compiled_as<P, First + 1>();
}

template <class Formula_, int D, int L>
struct Case {
    using Formula = Formula_;
    static constexpr int dimension = D;
    static constexpr int lanes = L;
};

template <class Formula, int D, class Visit>
auto visit_lanes(int lanes, Visit visit) {
    switch (lanes) {
        case 1:
            return visit(Case<Formula, D, 1>{});
        case 2:
            return visit(Case<Formula, D, 2>{});
        case 4:
            return visit(Case<Formula, D, 4>{});
        default:
            throw std::logic_error("no such number of lanes");
    }
}

// visit(Case) for a potential by its index in potentials::All, in one dimension.
template <int D, class Visit, class First, class... Rest>
auto visit_case(potentials::List<First, Rest...>, int potential, int lanes, Visit visit) {
    if constexpr (sizeof...(Rest) > 0)
        if (potential > 0)
            return visit_case<D>(potentials::List<Rest...>{}, potential - 1, lanes, visit);
    return visit_lanes<typename FormulaOf<First>::type, D>(lanes, visit);
}

// The same in two dimensions or three.
template <class Potentials, class Visit>
auto visit_case(Potentials all, int potential, int dimension, int lanes, Visit visit) {
    if (dimension == 2) return visit_case<2>(all, potential, lanes, visit);
    if (dimension == 3) return visit_case<3>(all, potential, lanes, visit);
    throw std::logic_error("no such number of dimensions");
}

}  // namespace amorph::engine::device
