// The Python face of the batched engine. It checks shapes; what the values mean is checked in
// Python, where errors have names.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <array>
#include <deque>
#include <memory>
#include <optional>
#include <stdexcept>

#include "../engine/batch.h"
#include "../engine/gpu/gpu.h"
#include "../potentials/potentials.h"

namespace nb = nanobind;
using namespace nb::literals;
namespace engine = amorph::engine;

namespace {

using Doubles = nb::ndarray<const double, nb::c_contig, nb::device::cpu>;
using MutableDoubles = nb::ndarray<double, nb::c_contig, nb::device::cpu>;
using Integers = nb::ndarray<const std::int32_t, nb::c_contig, nb::device::cpu>;

// First bond of each replica, pairs, stiffnesses, lengths.
using Bonds = std::tuple<std::vector<std::int64_t>, Integers, Doubles, Doubles>;

// A tabulated potential: sigma, r_cut, coefficients, cells, bits, max_stiffness.
using TabulatedArrays = std::tuple<Doubles, Doubles, Doubles, Doubles, int, double>;

void require(bool condition, const char* message) {
    if (!condition) throw std::invalid_argument(message);
}

engine::PotentialTable make_tabulated(const TabulatedArrays& arrays) {
    const auto& [sigma, r_cut, coefficients, cells, bits, max_stiffness] = arrays;
    require(sigma.ndim() == 2 && sigma.shape(0) == sigma.shape(1) && sigma.shape(0) > 0,
            "sigma must be (n_types, n_types)");
    const std::size_t types = sigma.shape(0);
    require(r_cut.size() == sigma.size(), "r_cut must be (n_types, n_types)");
    require(coefficients.ndim() == 3 && coefficients.shape(0) == types &&
                coefficients.shape(1) == types && coefficients.shape(2) > 2,
            "coefficients must be (n_types, n_types, 2 + n_breaks)");
    require(cells.ndim() == 2 && cells.shape(1) == std::size_t(amorph::potentials::Cells::size),
            "cells must be (n_cells, 8)");
    engine::Tabulated tabulated{};
    tabulated.n_types = int(types);
    tabulated.n_breaks = int(coefficients.shape(2)) - 2;
    tabulated.bits = bits;
    tabulated.max_stiffness = max_stiffness;
    tabulated.sigma = sigma.data();
    tabulated.r_cut = r_cut.data();
    tabulated.coefficients = coefficients.data();
    tabulated.cells = cells.data();
    tabulated.n_cells = cells.shape(0);
    return engine::PotentialTable(tabulated);
}

// One table from each (n_types, n_types) matrix of the stacks (n_tables, n_types, n_types).
std::vector<engine::PotentialTable> make_tables(
    const std::string& name, const Doubles& sigma, const std::vector<Doubles>& pair_parameters,
    const std::optional<std::vector<TabulatedArrays>>& tabulated) {
    if (tabulated) {
        require(!tabulated->empty(), "there are no tables");
        std::vector<engine::PotentialTable> own;
        for (const TabulatedArrays& arrays : *tabulated) own.push_back(make_tabulated(arrays));
        return own;
    }
    const int potential = engine::find_potential(name);
    require(potential >= 0 || name == "none", "no such potential");
    require(sigma.ndim() == 3 && sigma.shape(0) > 0 && sigma.shape(1) == sigma.shape(2) &&
                sigma.shape(1) > 0,
            "sigma must be (n_tables, n_types, n_types)");
    for (const Doubles& p : pair_parameters)
        require(p.ndim() == 3 && p.shape(0) == sigma.shape(0) && p.shape(1) == sigma.shape(1) &&
                    p.shape(2) == sigma.shape(2),
                "pair parameters must be (n_tables, n_types, n_types)");
    const std::size_t size = sigma.shape(1) * sigma.shape(1);
    std::vector<engine::PotentialTable> tables;
    tables.reserve(sigma.shape(0));
    for (std::size_t t = 0; t < sigma.shape(0); ++t) {
        if (potential < 0) {
            tables.push_back(
                engine::PotentialTable::none(int(sigma.shape(1)), sigma.data()[t * size]));
            continue;
        }
        std::vector<const double*> parameters;
        for (const Doubles& p : pair_parameters) parameters.push_back(p.data() + t * size);
        tables.emplace_back(potential, int(sigma.shape(1)), sigma.data() + t * size, parameters);
    }
    return tables;
}

std::vector<engine::Box> make_boxes(const double* boxes, std::size_t count, int dimension) {
    std::vector<engine::Box> out(count);
    for (std::size_t r = 0; r < out.size(); ++r)
        for (int a = 0; a < 3; ++a)
            for (int b = 0; b < 3; ++b)
                out[r].h[a][b] = a < dimension && b < dimension
                                     ? boxes[(r * dimension + a) * dimension + b]
                                     : (a == b ? 1.0 : 0.0);
    return out;
}

void check_boxes(std::size_t ndim, std::size_t rows, std::size_t columns, std::size_t count,
                 std::size_t dimension, std::size_t replicas) {
    require(ndim == 3 && rows == dimension && columns == dimension,
            "boxes must be (1 or n_replicas, dimension, dimension)");
    require(count == 1 || count == replicas, "there must be one box, or one for each replica");
}

// Stages with what their schedules point to.
class Stages {
  public:
    explicit Stages(const nb::list& stages) {
        for (nb::handle h : stages) add(nb::cast<nb::dict>(h));
    }
    std::vector<engine::Stage> stages;

  private:
    template <class T>
    static void set(const nb::dict& from, const char* key, T& value) {
        if (from.contains(key)) value = nb::cast<T>(from[key]);
    }
    void add(const nb::dict& d) {
        engine::Stage s{};
        s.kind = engine::Stage::Kind(nb::cast<int>(d["kind"]));
        set(d, "steps", s.steps);
        set(d, "tolerance", s.tolerance);
        set(d, "at_pressure", s.at_pressure);
        set(d, "pressure", s.pressure);
        set(d, "pressure_tolerance", s.pressure_tolerance);
        set(d, "dt", s.dt);
        set(d, "friction", s.friction);
        set(d, "draw_velocities", s.draw_velocities);
        set(d, "volume", s.volume);
        set(d, "steps_left", s.steps_left);
        if (d.contains("fire")) {
            const auto f = nb::cast<nb::dict>(d["fire"]);
            set(f, "dt_start", s.fire.dt_start);
            set(f, "dt_max", s.fire.dt_max);
            set(f, "dt_min", s.fire.dt_min);
            set(f, "max_move", s.fire.max_move);
            set(f, "grow", s.fire.grow);
            set(f, "shrink", s.fire.shrink);
            set(f, "mixing", s.fire.mixing);
            set(f, "mixing_decay", s.fire.mixing_decay);
            set(f, "delay", s.fire.delay);
        }
        if (d.contains("newton")) {
            const auto f = nb::cast<nb::dict>(d["newton"]);
            set(f, "start", s.newton.start);
            set(f, "reach", s.newton.reach);
            set(f, "forcing", s.newton.forcing);
            set(f, "max_products", s.newton.max_products);
        }
        if (d.contains("temperature")) {
            const auto& step = keep(nb::cast<std::vector<double>>(d["temperature_steps"]));
            const auto& value = keep(nb::cast<std::vector<double>>(d["temperature"]));
            require(!step.empty() && step.size() == value.size(), "temperature has a wrong length");
            s.temperature = {int(step.size()), step.data(), value.data(),
                             nb::cast<bool>(d["geometric"])};
        }
        stages.push_back(s);
    }
    const std::vector<double>& keep(std::vector<double> values) {
        kept_.push_back(std::move(values));
        return kept_.back();
    }
    std::deque<std::vector<double>> kept_;
};

template <class T>
nb::object to_numpy(std::vector<T>&& values, std::initializer_list<std::size_t> shape) {
    auto* held = new std::vector<T>(std::move(values));
    nb::capsule owner(held, [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
    return nb::cast(nb::ndarray<nb::numpy, T>(held->data(), shape, owner));
}

// (seed, number of the first replica, stream), as amorph.handover.RandomKey is.
using Key = std::tuple<std::uint64_t, std::uint32_t, std::uint32_t>;

engine::RandomKey key_of(const Key& key) {
    return {std::get<0>(key), std::get<1>(key), std::get<2>(key)};
}

nb::dict run(const std::string& potential, const Doubles& sigma,
             const std::vector<Doubles>& pair_parameters,
             const std::optional<std::vector<TabulatedArrays>>& tabulated,
             const MutableDoubles& boxes, const Integers& typeid_, const MutableDoubles& positions,
             const std::optional<MutableDoubles>& velocities, const nb::list& stages,
             bool want_forces, const Key& key, std::array<std::uint32_t, 4> purposes,
             std::int64_t every, const std::optional<MutableDoubles>& trajectory,
             const std::optional<MutableDoubles>& trajectory_velocities,
             const std::optional<Bonds>& bonds, int threads, const std::string& instruction_set,
             const std::optional<int>& gpu, nb::object progress) {
    require(positions.ndim() == 3 && (positions.shape(2) == 2 || positions.shape(2) == 3),
            "positions must be (n_replicas, n_particles, 2 or 3)");
    const std::size_t n = positions.shape(0);
    const int d = int(positions.shape(2));
    require((typeid_.ndim() == 1 && typeid_.shape(0) == positions.shape(1)) ||
                (typeid_.ndim() == 2 && typeid_.shape(0) == n &&
                 typeid_.shape(1) == positions.shape(1)),
            "typeid must be (n_particles,) or (n_replicas, n_particles)");
    check_boxes(boxes.ndim(), boxes.shape(1), boxes.shape(2), boxes.shape(0), std::size_t(d), n);
    const std::vector<engine::PotentialTable> tables =
        make_tables(potential, sigma, pair_parameters, tabulated);
    require(tables.size() == 1 || tables.size() == n, "there must be one table, or one a replica");
    for (std::size_t i = 0; i < typeid_.size(); ++i)
        require(typeid_.data()[i] >= 0 && typeid_.data()[i] < tables.front().view().n_types,
                "a typeid is not a type of the potential");
    if (velocities)
        require(velocities->size() == positions.size(), "velocities must be as positions");
    std::vector<engine::Box> box = make_boxes(boxes.data(), boxes.shape(0), d);
    const Stages held(stages);
    engine::Replicas replicas{};
    replicas.dimension = d;
    replicas.n_particles = int(positions.shape(1));
    replicas.n_replicas = std::int64_t(n);
    replicas.type = typeid_.data();
    replicas.type_each = typeid_.ndim() == 2;
    replicas.boxes = box.data();
    replicas.box_each = boxes.shape(0) == n;
    replicas.positions = positions.data();
    replicas.velocities = velocities ? velocities->data() : nullptr;
    engine::Work work;
    work.instruction_set = instruction_set;
    for (const auto& table : tables) work.tables.push_back(&table);
    work.stages = held.stages;
    work.key = key_of(key);
    work.purposes = {{purposes[0], purposes[1]}, {purposes[2], purposes[3]}};
    work.n_threads = threads;
    if (bonds) {
        const auto& [first, pairs, stiffness, length] = *bonds;
        const auto count = std::size_t(first.back());
        require(pairs.size() == 2 * count && stiffness.size() == count && length.size() == count,
                "bonds have a wrong length");
        require(first.size() == 2 || first.size() == n + 1, "bonds of one replica, or of each");
        for (std::size_t k = 0; k < pairs.size(); ++k)
            require(pairs.data()[k] >= 0 && pairs.data()[k] < replicas.n_particles,
                    "a bond names a particle that is not there");
        work.bond_first = first;
        work.bonds = {std::int64_t(count), pairs.data(), stiffness.data(), length.data()};
    }
    if (trajectory) {
        require(trajectory->ndim() == 4 && trajectory->shape(0) == n &&
                    trajectory->shape(2) == positions.shape(1) &&
                    trajectory->shape(3) == positions.shape(2),
                "trajectory must be (n_replicas, frames, n_particles, dimension)");
        work.trajectory.every = every;
        work.trajectory.frames = std::int64_t(trajectory->shape(1));
        work.trajectory.positions = trajectory->data();
        if (trajectory_velocities) {
            require(trajectory_velocities->size() == trajectory->size(),
                    "the trajectory's velocities must be as its positions");
            work.trajectory.velocities = trajectory_velocities->data();
        }
    }

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
        double* const wanted = want_forces ? forces.data() : nullptr;
        finished = gpu ? engine::run_replicas_gpu(replicas, work, results.data(), wanted, poll,
                                                  {.device = *gpu})
                       : engine::run_replicas(replicas, work, results.data(), wanted, poll);
    }
    if (!finished) throw std::runtime_error("the engine was stopped");

    std::vector<double> energy(n), max_force(n), seconds(n), stress(n * d * d);
    std::vector<std::int32_t> status(n), stage(n);
    std::vector<std::int64_t> steps(n), builds(n), products(n);
    static constexpr int component[3][3] = {{0, 5, 4}, {5, 1, 3}, {4, 3, 2}};
    for (std::size_t r = 0; r < n; ++r) {
        const engine::Outcome& o = results[r].outcome;
        const engine::Box& own = box[replicas.box_each ? r : 0];
        const double volume = own.volume(d);
        if (replicas.box_each)
            for (int a = 0; a < d; ++a)
                for (int b = 0; b < d; ++b)
                    boxes.data()[(r * std::size_t(d) + a) * d + b] = own.h[a][b];
        energy[r] = o.energy;
        max_force[r] = o.max_force;
        status[r] = std::int32_t(o.status);
        stage[r] = o.stage;
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
    out["stage"] = to_numpy(std::move(stage), {n});
    out["steps"] = to_numpy(std::move(steps), {n});
    out["list_builds"] = to_numpy(std::move(builds), {n});
    out["hessian_products"] = to_numpy(std::move(products), {n});
    out["seconds"] = to_numpy(std::move(seconds), {n});
    if (want_forces) out["forces"] = to_numpy(std::move(forces), {n, positions.shape(1), ud});
    return out;
}

void random_positions(const Key& key, std::array<std::uint32_t, 2> purposes, const Doubles& boxes,
                      const MutableDoubles& positions) {
    require(positions.ndim() == 3 && (positions.shape(2) == 2 || positions.shape(2) == 3),
            "positions must be (n_replicas, n_particles, 2 or 3)");
    check_boxes(boxes.ndim(), boxes.shape(1), boxes.shape(2), boxes.shape(0), positions.shape(2),
                positions.shape(0));
    std::vector<engine::Box> box =
        make_boxes(boxes.data(), boxes.shape(0), int(positions.shape(2)));
    engine::Replicas replicas{};
    replicas.dimension = int(positions.shape(2));
    replicas.n_particles = int(positions.shape(1));
    replicas.n_replicas = std::int64_t(positions.shape(0));
    replicas.boxes = box.data();
    replicas.box_each = boxes.shape(0) > 1;
    replicas.positions = positions.data();
    engine::random_positions(key_of(key), purposes.data(), replicas);
}

nb::tuple scales(const std::string& potential, const Doubles& sigma,
                 const std::vector<Doubles>& pair_parameters) {
    const std::vector<engine::PotentialTable> tables =
        make_tables(potential, sigma, pair_parameters, std::nullopt);
    const std::size_t types = sigma.shape(1);
    std::vector<double> r_cut, stiffness;
    for (const auto& table : tables) {
        stiffness.push_back(table.view().max_stiffness);
        for (std::size_t s = 0; s < types; ++s)
            for (std::size_t t = 0; t < types; ++t)
                r_cut.push_back(table.view().r_cut[s * std::size_t(table.view().stride) + t]);
    }
    return nb::make_tuple(to_numpy(std::move(r_cut), {tables.size(), types, types}),
                          to_numpy(std::move(stiffness), {tables.size()}));
}

nb::tuple evaluate_pairs(const std::string& potential, const Doubles& sigma,
                         const std::vector<Doubles>& pair_parameters,
                         const std::optional<std::vector<TabulatedArrays>>& tabulated,
                         const Doubles& r, const std::string& instruction_set) {
    const std::vector<engine::PotentialTable> tables =
        make_tables(potential, sigma, pair_parameters, tabulated);
    const std::size_t n = r.size();
    std::vector<double> energy(n), force(n);
    engine::evaluate_pairs(tables.front(), instruction_set, std::int64_t(n), r.data(),
                           energy.data(), force.data());
    return nb::make_tuple(to_numpy(std::move(energy), {n}), to_numpy(std::move(force), {n}));
}

}  // namespace

NB_MODULE(_engine, m) {
    nb::exception<engine::GpuError>(m, "GpuError", PyExc_RuntimeError);
    m.def("gpus", [] {
        nb::list out;
        for (const engine::GpuDevice& gpu : engine::gpu_devices()) {
            nb::dict one;
            one["index"] = gpu.index;
            one["name"] = gpu.name;
            one["memory"] = gpu.memory;
            one["compute_capability"] = nb::make_tuple(gpu.major, gpu.minor);
            one["multiprocessors"] = gpu.multiprocessors;
            out.append(one);
        }
        return out;
    });
    m.def("why_no_gpu", [] {
        std::string why_not;
        engine::gpu_available(why_not);
        return why_not;
    });
    m.def("potentials", [] {
        nb::dict out;
        for (const std::string& name : engine::potential_names())
            out[name.c_str()] = engine::pair_parameter_names(engine::find_potential(name));
        return out;
    });
    m.def("instruction_sets", &engine::instruction_sets);
    m.def("statuses", [] {
        nb::dict out;
        const auto add = [&out](const char* name, engine::Status status) {
            out[name] = int(status);
        };
        add("converged", engine::Status::converged);
        add("step_limit", engine::Status::step_limit);
        add("not_finite", engine::Status::not_finite);
        add("ran", engine::Status::ran);
        add("unstable", engine::Status::unstable);
        add("box_too_small", engine::Status::box_too_small);
        add("box_unbounded", engine::Status::box_unbounded);
        return out;
    });
    m.def("stage_kinds", [] {
        nb::dict out;
        const auto add = [&out](const char* name, engine::Stage::Kind kind) {
            out[name] = int(kind);
        };
        add("minimize", engine::Stage::Kind::minimize);
        add("langevin", engine::Stage::Kind::langevin);
        add("brownian", engine::Stage::Kind::brownian);
        add("rescale", engine::Stage::Kind::rescale);
        return out;
    });
    m.def("run", &run, "potential"_a, "sigma"_a, "pair_parameters"_a, "tabulated"_a.none(),
          "boxes"_a, "typeid"_a, "positions"_a, nb::kw_only(), "velocities"_a.none(), "stages"_a,
          "want_forces"_a, "key"_a, "purposes"_a, "every"_a, "trajectory"_a.none(),
          "trajectory_velocities"_a.none(), "bonds"_a.none(), "threads"_a, "instruction_set"_a,
          "gpu"_a.none(), "progress"_a.none());
    m.def("scales", &scales, "potential"_a, "sigma"_a, "pair_parameters"_a);
    m.def("random_positions", &random_positions, "key"_a, "purposes"_a, "boxes"_a, "positions"_a);
    m.def("evaluate_pairs", &evaluate_pairs, "potential"_a, "sigma"_a, "pair_parameters"_a,
          "tabulated"_a.none(), "r"_a, "instruction_set"_a);
    m.attr("most_breaks") = int(amorph::potentials::Table::most_breaks);
    m.attr("most_bits") = int(amorph::potentials::Cells::most_bits);
}
