// Compiled once per instruction set (AMORPH_ISA): every potential in two and three dimensions,
// for boxes with and without tilt and for small and large tables of types.
#include "kernels.h"

#include "../../potentials/potentials.h"
#include "run.h"

namespace amorph::engine {
namespace AMORPH_ISA {
namespace {

static_assert(Workspace::lanes % Pack::width == 0);

template <class Potential, int D>
Outcome run_any(Workspace& w, const Task& task) {
    return run<D>(w, inner_for<Potential, D>(*task.box, *task.table), task);
}

template <class Potential, int D>
Outcome measure_any(Workspace& w, const Task& task) {
    return measure<D>(w, inner_for<Potential, D>(*task.box, *task.table), task);
}

template <class Potential>
void evaluate_pairs(const PairTable& table, std::int64_t n, const double* r, double* energy,
                    double* force_over_r) {
    const CoefficientRow<Potential, false> row(table, 0);
    const std::uint16_t first_type[Workspace::lanes] = {};
    for (std::int64_t i = 0; i < n; i += Pack::width) {
        alignas(64) double in[Pack::width], u[Pack::width], f[Pack::width];
        for (int lane = 0; lane < Pack::width; ++lane) in[lane] = i + lane < n ? r[i + lane] : 1.0;
        const Pack distance = Pack::load(in);
        Pack pair_energy, pair_force;
        with_coefficients(row, Kinds::load(first_type), [&](const auto& c) {
            Potential::evaluate(distance * distance, c, pair_energy, pair_force);
        });
        pair_energy.store(u);
        pair_force.store(f);
        for (int lane = 0; lane < Pack::width && i + lane < n; ++lane) {
            energy[i + lane] = u[lane];
            force_over_r[i + lane] = f[lane];
        }
    }
}

template <class Potential>
constexpr PotentialKernels entry() {
    return {{run_any<Potential, 2>, run_any<Potential, 3>},
            {measure_any<Potential, 2>, measure_any<Potential, 3>},
            evaluate_pairs<Potential>};
}

template <class... Potentials>
const PotentialKernels& find(potentials::List<Potentials...>, int potential) {
    static constexpr PotentialKernels all[] = {entry<Potentials>()...};
    return all[potential];
}

}  // namespace
}  // namespace AMORPH_ISA

#define AMORPH_JOIN(a, b) a##b
#define AMORPH_KERNELS(isa) AMORPH_JOIN(kernels_, isa)

const PotentialKernels& AMORPH_KERNELS(AMORPH_ISA)(int potential) {
    return AMORPH_ISA::find(potentials::All{}, potential);
}

}  // namespace amorph::engine
