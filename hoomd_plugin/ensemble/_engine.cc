// The Python face of the batched engine. It checks shapes; what the values mean is checked in
// Python, where errors have names.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <array>
#include <memory>
#include <stdexcept>

#include "../engine/batch.h"

namespace nb = nanobind;
using namespace nb::literals;
namespace engine = amorph::engine;

namespace {

using Doubles = nb::ndarray<const double, nb::c_contig, nb::device::cpu>;
using MutableDoubles = nb::ndarray<double, nb::c_contig, nb::device::cpu>;
using Integers = nb::ndarray<const std::int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

void require(bool condition, const char* message) {
    if (!condition) throw std::invalid_argument(message);
}

engine::PotentialTable make_table(const std::string& name, const Doubles& sigma,
                                  const std::vector<Doubles>& pair_parameters) {
    const int potential = engine::find_potential(name);
    require(potential >= 0, "no such potential");
    require(sigma.ndim() == 2 && sigma.shape(0) == sigma.shape(1) && sigma.shape(0) > 0,
            "sigma must be (n_types, n_types)");
    std::vector<const double*> parameters;
    for (const Doubles& p : pair_parameters) {
        require(p.ndim() == 2 && p.shape(0) == sigma.shape(0) && p.shape(1) == sigma.shape(0),
                "pair parameters must be (n_types, n_types)");
        parameters.push_back(p.data());
    }
    return {potential, int(sigma.shape(0)), sigma.data(), parameters};
}

std::vector<engine::Box> make_boxes(const Doubles& boxes, int dimension) {
    require(
        boxes.ndim() == 3 && int(boxes.shape(1)) == dimension && int(boxes.shape(2)) == dimension,
        "boxes must be (1 or n_replicas, dimension, dimension)");
    std::vector<engine::Box> out(boxes.shape(0));
    for (std::size_t r = 0; r < out.size(); ++r)
        for (int a = 0; a < 3; ++a)
            for (int b = 0; b < 3; ++b)
                out[r].h[a][b] = a < dimension && b < dimension
                                     ? boxes.data()[(r * dimension + a) * dimension + b]
                                     : (a == b ? 1.0 : 0.0);
    return out;
}

engine::Replicas make_replicas(const MutableDoubles& positions,
                               const std::vector<engine::Box>& boxes, const std::int32_t* type) {
    const auto n = std::int64_t(positions.shape(0));
    require(boxes.size() == 1 || std::int64_t(boxes.size()) == n,
            "there must be one box, or one for each replica");
    return {int(positions.shape(2)), int(positions.shape(1)), n, type, boxes.data(),
            boxes.size() > 1,        positions.data()};
}

template <class T>
nb::object to_numpy(std::vector<T>&& values, std::initializer_list<std::size_t> shape) {
    auto* held = new std::vector<T>(std::move(values));
    nb::capsule owner(held, [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
    return nb::cast(nb::ndarray<nb::numpy, T>(held->data(), shape, owner));
}

nb::dict run(const std::string& potential, const Doubles& sigma,
             const std::vector<Doubles>& pair_parameters, const Doubles& boxes,
             const Integers& typeid_, const MutableDoubles& positions, bool minimize,
             bool want_forces, double tolerance, std::int64_t max_steps, const nb::dict& fire,
             const nb::dict& newton, int threads, const std::string& instruction_set,
             nb::object progress) {
    require(positions.ndim() == 3 && (positions.shape(2) == 2 || positions.shape(2) == 3),
            "positions must be (n_replicas, n_particles, 2 or 3)");
    require(typeid_.shape(0) == positions.shape(1), "typeid must be (n_particles,)");
    const engine::PotentialTable table = make_table(potential, sigma, pair_parameters);
    for (std::size_t i = 0; i < typeid_.shape(0); ++i)
        require(typeid_.data()[i] >= 0 && typeid_.data()[i] < table.view().n_types,
                "a typeid is not a type of the potential");
    const int d = int(positions.shape(2));
    const std::vector<engine::Box> box = make_boxes(boxes, d);
    const engine::Replicas replicas = make_replicas(positions, box, typeid_.data());
    const std::size_t n = positions.shape(0);

    engine::FireSettings settings;
    const auto set = [](const nb::dict& from, const char* key, auto& value) {
        if (from.contains(key))
            value = nb::cast<std::remove_reference_t<decltype(value)>>(from[key]);
    };
    set(fire, "dt_start", settings.dt_start);
    set(fire, "dt_max", settings.dt_max);
    set(fire, "dt_min", settings.dt_min);
    set(fire, "max_move", settings.max_move);
    set(fire, "grow", settings.grow);
    set(fire, "shrink", settings.shrink);
    set(fire, "mixing", settings.mixing);
    set(fire, "mixing_decay", settings.mixing_decay);
    set(fire, "delay", settings.delay);
    engine::NewtonSettings finish;
    set(newton, "start", finish.start);
    set(newton, "reach", finish.reach);
    set(newton, "forcing", finish.forcing);
    set(newton, "max_products", finish.max_products);

    std::vector<engine::ReplicaResult> results(n);
    std::vector<double> forces(want_forces ? n * positions.shape(1) * d : 0);
    const auto poll = [&progress](std::int64_t done) {
        const nb::gil_scoped_acquire gil;
        if (PyErr_CheckSignals() != 0) throw nb::python_error();
        if (!progress.is_none()) progress(done);
        return true;
    };
    bool finished = false;
    {
        const nb::gil_scoped_release release;
        finished = engine::run_replicas(replicas, table, instruction_set, minimize, tolerance,
                                        max_steps, settings, finish, threads, results.data(),
                                        want_forces ? forces.data() : nullptr, poll);
    }
    if (!finished) throw std::runtime_error("the engine was stopped");

    std::vector<double> energy(n), max_force(n), seconds(n), stress(n * d * d);
    std::vector<std::int32_t> status(n);
    std::vector<std::int64_t> steps(n), builds(n), products(n);
    static constexpr int component[3][3] = {{0, 5, 4}, {5, 1, 3}, {4, 3, 2}};
    for (std::size_t r = 0; r < n; ++r) {
        const engine::Outcome& o = results[r].outcome;
        const double volume = box[box.size() > 1 ? r : 0].volume(d);
        energy[r] = o.energy;
        max_force[r] = o.max_force;
        status[r] = std::int32_t(o.status);
        steps[r] = o.steps;
        builds[r] = o.builds;
        products[r] = o.products;
        seconds[r] = results[r].seconds;
        for (int a = 0; a < d; ++a)
            for (int b = 0; b < d; ++b)
                stress[(r * d + a) * d + b] = o.virial[component[a][b]] / volume;
    }
    const auto ud = std::size_t(d);
    nb::dict out;
    out["energy"] = to_numpy(std::move(energy), {n});
    out["max_force"] = to_numpy(std::move(max_force), {n});
    out["stress"] = to_numpy(std::move(stress), {n, ud, ud});
    out["status"] = to_numpy(std::move(status), {n});
    out["steps"] = to_numpy(std::move(steps), {n});
    out["list_builds"] = to_numpy(std::move(builds), {n});
    out["hessian_products"] = to_numpy(std::move(products), {n});
    out["seconds"] = to_numpy(std::move(seconds), {n});
    if (want_forces) out["forces"] = to_numpy(std::move(forces), {n, positions.shape(1), ud});
    return out;
}

void random_positions(std::uint64_t seed, std::array<std::uint32_t, 2> purposes,
                      std::int64_t first_replica, const Doubles& boxes,
                      const MutableDoubles& positions) {
    require(positions.ndim() == 3 && (positions.shape(2) == 2 || positions.shape(2) == 3),
            "positions must be (n_replicas, n_particles, 2 or 3)");
    const std::vector<engine::Box> box = make_boxes(boxes, int(positions.shape(2)));
    engine::random_positions(seed, purposes.data(), first_replica,
                             make_replicas(positions, box, nullptr));
}

nb::object cutoffs(const std::string& potential, const Doubles& sigma,
                   const std::vector<Doubles>& pair_parameters) {
    const engine::PotentialTable table = make_table(potential, sigma, pair_parameters);
    const auto types = std::size_t(table.view().n_types);
    std::vector<double> r_cut(types * types);
    for (std::size_t s = 0; s < types; ++s)
        for (std::size_t t = 0; t < types; ++t)
            r_cut[s * types + t] = table.view().r_cut[s * std::size_t(table.view().stride) + t];
    return to_numpy(std::move(r_cut), {types, types});
}

nb::tuple evaluate_pairs(const std::string& potential, const Doubles& sigma,
                         const std::vector<Doubles>& pair_parameters, const Doubles& r,
                         const std::string& instruction_set) {
    const engine::PotentialTable table = make_table(potential, sigma, pair_parameters);
    const std::size_t n = r.size();
    std::vector<double> energy(n), force(n);
    engine::evaluate_pairs(table, instruction_set, std::int64_t(n), r.data(), energy.data(),
                           force.data());
    return nb::make_tuple(to_numpy(std::move(energy), {n}), to_numpy(std::move(force), {n}));
}

}  // namespace

NB_MODULE(_engine, m) {
    m.def("potentials", [] {
        nb::dict out;
        for (const std::string& name : engine::potential_names())
            out[name.c_str()] = engine::pair_parameter_names(engine::find_potential(name));
        return out;
    });
    m.def("instruction_sets", &engine::instruction_sets);
    m.def("statuses", [] {
        nb::dict out;
        out["converged"] = int(engine::Status::converged);
        out["step_limit"] = int(engine::Status::step_limit);
        out["not_finite"] = int(engine::Status::not_finite);
        return out;
    });
    m.def("run", &run, "potential"_a, "sigma"_a, "pair_parameters"_a, "boxes"_a, "typeid"_a,
          "positions"_a, nb::kw_only(), "minimize"_a, "want_forces"_a, "tolerance"_a, "max_steps"_a,
          "fire"_a, "newton"_a, "threads"_a, "instruction_set"_a, "progress"_a.none());
    m.def("cutoffs", &cutoffs, "potential"_a, "sigma"_a, "pair_parameters"_a);
    m.def("random_positions", &random_positions, "seed"_a, "purposes"_a, "first_replica"_a,
          "boxes"_a, "positions"_a);
    m.def("evaluate_pairs", &evaluate_pairs, "potential"_a, "sigma"_a, "pair_parameters"_a, "r"_a,
          "instruction_set"_a);
}
