// What the algorithms are compiled for: every potential, two and three dimensions, one to four
// lanes a particle.
#pragma once

#include <stdexcept>

#include "../../potentials/potentials.h"

namespace amorph::engine::device {

// What there is to evaluate of a potential: those that share it share their kernels.
template <class Potential>
struct FormulaOf {
    using type = Potential;
};
template <>
struct FormulaOf<potentials::HarmonicMorse> {
    using type = potentials::HarmonicMorseShape;
};
template <>
struct FormulaOf<potentials::HarmonicMorseReduced> {
    using type = potentials::HarmonicMorseShape;
};

template <class Formula_, int D, int L>
struct Case {
    using Formula = Formula_;
    static constexpr int dimension = D;
    static constexpr int lanes = L;
};

template <class Formula, class Visit>
auto visit_case(int dimension, int lanes, Visit visit) {
    switch (10 * dimension + lanes) {
        case 21:
            return visit(Case<Formula, 2, 1>{});
        case 22:
            return visit(Case<Formula, 2, 2>{});
        case 24:
            return visit(Case<Formula, 2, 4>{});
        case 31:
            return visit(Case<Formula, 3, 1>{});
        case 32:
            return visit(Case<Formula, 3, 2>{});
        case 34:
            return visit(Case<Formula, 3, 4>{});
        default:
            throw std::logic_error("no such case");
    }
}

// visit(Case) for a potential by its index in potentials::All.
template <class Visit, class First, class... Rest>
auto visit_case(potentials::List<First, Rest...>, int potential, int dimension, int lanes,
                Visit visit) {
    if constexpr (sizeof...(Rest) > 0)
        if (potential > 0)
            return visit_case(potentials::List<Rest...>{}, potential - 1, dimension, lanes, visit);
    return visit_case<typename FormulaOf<First>::type>(dimension, lanes, visit);
}

}  // namespace amorph::engine::device
