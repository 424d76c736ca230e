// The Python face of what is compiled of networks. It checks shapes; what the values mean is
// checked in Python, where errors have names.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/tuple.h>

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <tuple>
#include <vector>

#include "bond_response.h"
#include "dissection.h"

namespace nb = nanobind;
using namespace nb::literals;
using amorph::networks::BondResponse;

namespace {

using Doubles = nb::ndarray<const double, nb::c_contig, nb::device::cpu>;
using Integers = nb::ndarray<const std::int32_t, nb::c_contig, nb::device::cpu>;
using View = nb::ndarray<nb::numpy, const double>;

void require(bool condition, const char* message) {
    if (!condition) throw std::invalid_argument(message);
}

template <class T, class Array>
std::vector<T> copied(const Array& array) {
    return std::vector<T>(array.data(), array.data() + array.size());
}

template <class T>
nb::ndarray<nb::numpy, T> owned(std::vector<T> values, std::initializer_list<std::size_t> shape) {
    auto* kept = new std::vector<T>(std::move(values));
    nb::capsule owner(kept, [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
    return nb::ndarray<nb::numpy, T>(kept->data(), shape, owner);
}

View view(const std::vector<double>& values, std::initializer_list<std::size_t> shape,
          nb::handle owner) {
    return View(values.data(), shape, owner);
}

nb::ndarray<nb::numpy, std::int32_t> dissect(const Doubles& positions, const Integers& bonds) {
    require(positions.ndim() == 2, "positions must be (n_nodes, d)");
    require(bonds.ndim() == 2 && bonds.shape(1) == 2, "bonds must be (n_bonds, 2)");
    const std::int32_t n = std::int32_t(positions.shape(0));
    for (std::size_t k = 0; k < bonds.size(); ++k)
        require(bonds.data()[k] >= 0 && bonds.data()[k] < n, "a bond has no such node");
    const amorph::networks::Neighbors neighbors(n, bonds.data(), bonds.shape(0));
    const amorph::networks::Dissection found(n, int(positions.shape(1)), positions.data(),
                                             neighbors);
    return owned(found.order(), {std::size_t(n)});
}

void make(BondResponse* place, std::int32_t n_unknowns, const Integers& places,
          const Doubles& elements, const Doubles& stiffness, const Doubles& strained,
          const Doubles& functionals, const Doubles& functionals_strained) {
    require(n_unknowns > 0, "there are no unknowns");
    require(places.ndim() == 2 && places.shape(1) > 0, "places must be (n_bonds, width)");
    const std::size_t bonds = places.shape(0);
    require(
        elements.ndim() == 2 && elements.shape(0) == bonds && elements.shape(1) == places.shape(1),
        "elements must be as places");
    require(stiffness.ndim() == 1 && stiffness.size() == bonds, "stiffness must be (n_bonds,)");
    require(strained.ndim() == 2 && strained.shape(0) == bonds,
            "strained must be (n_bonds, n_strains)");
    require(functionals.ndim() == 2 && functionals.shape(1) == std::size_t(n_unknowns),
            "functionals must be (n_functionals, n_unknowns)");
    require(functionals_strained.ndim() == 2 &&
                functionals_strained.shape(0) == functionals.shape(0) &&
                functionals_strained.shape(1) == strained.shape(1),
            "functionals_strained must be (n_functionals, n_strains)");
    for (std::size_t k = 0; k < places.size(); ++k)
        require(places.data()[k] >= -1 && places.data()[k] < n_unknowns,
                "a bond has no such unknown");
    new (place) BondResponse(
        n_unknowns, places.shape(1), copied<std::int32_t>(places), copied<double>(elements),
        copied<double>(stiffness), copied<double>(strained), strained.shape(1),
        copied<double>(functionals), copied<double>(functionals_strained), functionals.shape(0));
}

std::size_t checked_bond(const BondResponse& self, std::int64_t bond) {
    if (bond < 0 || std::size_t(bond) >= self.n_bonds()) throw nb::index_error("no such bond");
    return std::size_t(bond);
}

auto try_changes(const BondResponse& self, const Integers& bonds, const Doubles& deltas) {
    require(bonds.ndim() == 1 && deltas.ndim() == 1 && bonds.size() == deltas.size(),
            "bonds and deltas must be vectors of one length");
    for (std::size_t k = 0; k < bonds.size(); ++k) checked_bond(self, bonds.data()[k]);
    const std::size_t count = bonds.size(), size = self.n_loads() * (self.n_loads() + 1) / 2;
    std::vector<double> packed(count * size), growth(count);
    self.try_changes(bonds.data(), deltas.data(), count, packed.data(), growth.data());
    return std::tuple(owned(std::move(packed), {count, size}), owned(std::move(growth), {count}));
}

}  // namespace

NB_MODULE(_compiled, m) {
    m.def("dissect", &dissect, "positions"_a, "bonds"_a);

    nb::class_<BondResponse>(m, "BondResponse")
        .def("__init__", &make, "n_unknowns"_a, "places"_a, "elements"_a, "stiffness"_a,
             "strained"_a, "functionals"_a, "functionals_strained"_a)
        .def_prop_ro("n_unknowns", &BondResponse::n_unknowns)
        .def_prop_ro("n_entries", &BondResponse::n_entries)
        .def("renew", &BondResponse::renew, "least"_a)
        .def(
            "solve_column",
            [](BondResponse& self, std::int64_t bond) {
                const std::size_t e = checked_bond(self, bond);
                self.solve_column(e);
                return self.column[e];
            },
            "bond"_a)
        .def(
            "move",
            [](BondResponse& self, std::int64_t bond, double delta) {
                return self.move(checked_bond(self, bond), delta);
            },
            "bond"_a, "delta"_a)
        .def(
            "set_stiffness",
            [](BondResponse& self, const Doubles& stiffness) {
                require(stiffness.ndim() == 1 && stiffness.size() == self.n_bonds(),
                        "stiffness must be (n_bonds,)");
                // In place: views of it may be about.
                std::copy_n(stiffness.data(), stiffness.size(), self.stiffness.begin());
            },
            "stiffness"_a)
        .def(
            "displace",
            [](const BondResponse& self, std::size_t load) {
                if (load >= self.n_loads()) throw nb::index_error("no such load");
                std::vector<double> u(std::size_t(self.n_unknowns()));
                self.displace(load, u.data());
                return owned(std::move(u), {std::size_t(self.n_unknowns())});
            },
            "load"_a)
        .def("try_changes", &try_changes, "bonds"_a, "deltas"_a)
        .def_prop_ro("stiffness",
                     [](nb::handle self) {
                         const BondResponse& of = nb::cast<const BondResponse&>(self);
                         return view(of.stiffness, {of.n_bonds()}, self);
                     })
        .def_prop_ro("extension",
                     [](nb::handle self) {
                         const BondResponse& of = nb::cast<const BondResponse&>(self);
                         return view(of.extension, {of.n_bonds(), of.n_loads()}, self);
                     })
        .def_prop_ro("compliance",
                     [](nb::handle self) {
                         const BondResponse& of = nb::cast<const BondResponse&>(self);
                         return view(of.compliance, {of.n_bonds()}, self);
                     })
        .def_prop_ro("response",
                     [](nb::handle self) {
                         const BondResponse& of = nb::cast<const BondResponse&>(self);
                         return view(of.response, {of.n_loads(), of.n_loads()}, self);
                     })
        .def_prop_ro("column", [](nb::handle self) {
            const BondResponse& of = nb::cast<const BondResponse&>(self);
            return view(of.column, {of.n_bonds()}, self);
        });
}
