// The pair potentials as HOOMD-blue's classes, and what Python must know of them.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>
#include <vector>

#include "HOOMDVersion.h"
#include "evaluator.h"
#include "hoomd/md/PotentialPair.h"
#ifdef ENABLE_HIP
#include "hoomd/md/PotentialPairGPU.h"
#endif
#include "table_evaluator.h"

namespace amorph::component {

namespace {

namespace py = pybind11;

// HOOMD's class of a potential, its parameters' names, and where its switch is.
template <class Potential>
void add(py::module_& m, py::dict& all) {
    using Evaluator = EvaluatorPair<Potential>;
    const std::string name = std::string("PotentialPair_") + Potential::name;
    hoomd::md::detail::export_PotentialPair<Evaluator>(m, name);
#ifdef ENABLE_HIP
    hoomd::md::detail::export_PotentialPairGPU<Evaluator>(m, name + "GPU");
#endif
    std::vector<std::string> names;
    for (int k = 0; k < Evaluator::n_parameters; ++k)
        names.emplace_back(Evaluator::param_type::name(k));
    py::dict entry;
    entry["parameters"] = names;
    entry["cutoffs"] = py::cpp_function(
        [](const std::vector<double>& p) {
            if (int(p.size()) != Evaluator::n_parameters)
                throw std::invalid_argument("wrong number of parameters");
            return std::pair(Potential::r_on(p.data()), Potential::r_cut(p.data()));
        },
        "r_on and r_cut from the parameters of a pair of types.");
    all[Potential::name] = entry;
}

template <class... Potentials>
void add_all(py::module_& m, py::dict& all, potentials::List<Potentials...>) {
    (add<Potentials>(m, all), ...);
}

}  // namespace

}  // namespace amorph::component

PYBIND11_MODULE(_amorph, m) {
    pybind11::module_::import("hoomd.md");  // the base classes
    pybind11::dict all;
    amorph::component::add_all(m, all, amorph::potentials::Formulas{});
    using amorph::component::EvaluatorTable;
    hoomd::md::detail::export_PotentialPair<EvaluatorTable>(m, "PotentialPair_table");
#ifdef ENABLE_HIP
    hoomd::md::detail::export_PotentialPairGPU<EvaluatorTable>(m, "PotentialPair_tableGPU");
#endif
    m.attr("potentials") = all;
    m.attr("hoomd_version") = HOOMD_VERSION;
#ifdef ENABLE_HIP
    m.attr("gpu") = true;
#else
    m.attr("gpu") = false;
#endif
}
