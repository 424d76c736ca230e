#include "pack.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <string>

namespace amorph::engine::device {

namespace {

void check(const Replicas& replicas, const Work& work) {
    const auto refuse = [](const std::string& what) {
        throw std::invalid_argument(what + ": use the CPU");
    };
    if (replicas.n_particles > most_particles)
        refuse("replicas of " + std::to_string(replicas.n_particles) +
               " particles are too large for the GPU, which takes " +
               std::to_string(most_particles));
    const PairTable& first = work.tables.front()->view();
    if (first.n_types > 65535) refuse("more than 65535 types are too many for the GPU");
    for (const PotentialTable* table : work.tables)
        if (table->potential() != work.tables.front()->potential() ||
            table->view().n_types != first.n_types)
            throw std::invalid_argument(
                "the replicas' tables must be of one potential and as many types");
}

// The rows of bonds of one replica, each bond in the rows of both its ends, in the kernels' order.
void pack_bonds(const Work& work, std::size_t network, const std::vector<int>& order, Packed& p) {
    const auto n = order.size();
    std::vector<std::int32_t> place(n);
    for (std::size_t k = 0; k < n; ++k) place[std::size_t(order[k])] = std::int32_t(k);
    const auto start = std::int64_t(p.bonds.size());
    const std::int64_t from = work.bond_first[network], to = work.bond_first[network + 1];
    std::vector<std::int64_t> next(n + 1, 0);
    for (std::int64_t b = 2 * from; b < 2 * to; ++b)
        ++next[std::size_t(place[std::size_t(work.bonds.pairs[b])]) + 1];
    std::partial_sum(next.begin(), next.end(), next.begin());
    for (const std::int64_t first : next) p.bond_first.push_back(start + first);
    p.bonds.resize(std::size_t(start + 2 * (to - from)));
    for (std::int64_t b = from; b < to; ++b) {
        const std::int32_t i = place[std::size_t(work.bonds.pairs[2 * b])];
        const std::int32_t j = place[std::size_t(work.bonds.pairs[2 * b + 1])];
        const double k = work.bonds.stiffness[b], length = work.bonds.length[b];
        p.bonds[std::size_t(start + next[std::size_t(i)]++)] = {k, length, j};
        p.bonds[std::size_t(start + next[std::size_t(j)]++)] = {k, length, i};
    }
}

void pack_stages(const Work& work, Packed& p) {
    p.stages = work.stages;
    for (const Stage& stage : p.stages) {
        const Schedule& t = stage.temperature;
        p.schedules.insert(p.schedules.end(), t.step, t.step + t.n);
        p.schedules.insert(p.schedules.end(), t.value, t.value + t.n);
    }
}

}  // namespace

std::vector<Stage> stages_with(const Packed& packed, const double* schedules) {
    std::vector<Stage> stages = packed.stages;
    for (Stage& stage : stages) {
        stage.temperature.step = schedules;
        stage.temperature.value = schedules + stage.temperature.n;
        schedules += 2 * stage.temperature.n;
    }
    return stages;
}

Packed pack(const Replicas& replicas, const Work& work) {
    check(replicas, work);
    Packed p{};
    const int n = replicas.n_particles;
    const int d = replicas.dimension;
    const PairTable& first = work.tables.front()->view();
    const int types = first.n_types;
    p.dimension = d;
    p.potential = work.tables.front()->potential();

    const bool bonded = !work.bond_first.empty();
    const bool networks = work.bond_first.size() > 2;
    const bool orders = replicas.type_each || networks;
    std::vector<int> order(static_cast<std::size_t>(n));
    for (std::int64_t k = 0; k < (orders ? replicas.n_replicas : 1); ++k) {
        const std::int32_t* type = replicas.type + (replicas.type_each ? k * n : 0);
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end(),
                         [type](int i, int j) { return type[i] < type[j]; });
        if (bonded) pack_bonds(work, networks ? std::size_t(k) : 0, order, p);
        if (k > 0 && !replicas.type_each) continue;
        std::vector<std::int32_t> firsts(std::size_t(types) + 1, 0);
        for (const int i : order) {
            p.order.push_back(std::uint16_t(i));
            p.type.push_back(std::uint16_t(type[i]));
            ++firsts[std::size_t(type[i]) + 1];
        }
        std::partial_sum(firsts.begin(), firsts.end(), firsts.begin());
        p.first_of_type.insert(p.first_of_type.end(), firsts.begin(), firsts.end());
    }

    double least_volume = 0.0;
    const std::int64_t n_boxes = replicas.box_each ? replicas.n_replicas : 1;
    for (std::int64_t k = 0; k < n_boxes; ++k) {
        const Box& box = replicas.boxes[k];
        p.boxes.insert(p.boxes.end(), &box.h[0][0], &box.h[0][0] + 9);
        const double volume = box.volume(d);
        least_volume = k == 0 ? volume : std::min(least_volume, volume);
    }

    for (const Stage& stage : work.stages)
        if (stage.kind == Stage::Kind::rescale) least_volume = std::min(least_volume, stage.volume);

    double cutoff = 0.0;
    for (const PotentialTable* table : work.tables) {
        const PairTable& view = table->view();
        if (view.cells.first != nullptr) {
            const auto size = std::size_t(potentials::Cells::size);
            p.cells_at.push_back(
                {std::int64_t(p.cells.size() / size), view.cells.bits, view.cells.n_breaks});
            p.cells.insert(p.cells.end(), view.cells.first,
                           view.cells.first + table->n_cells() * size);
        }
        for (int s = 0; s < types; ++s)
            for (int t = 0; t < types; ++t) {
                for (int k = 0; k < view.n_coefficients; ++k)
                    p.coefficients.push_back(
                        view.coefficients[(std::int64_t(s) * view.n_coefficients + k) *
                                              view.stride +
                                          t]);
                p.r_cut.push_back(view.r_cut[std::int64_t(s) * view.stride + t]);
            }
        cutoff = std::max(cutoff, view.max_cutoff);
    }
    const bool scales = work.tables.size() > 1 || networks;
    for (std::size_t k = 0; k < (scales ? std::size_t(replicas.n_replicas) : 1); ++k) {
        const PairTable& view = work.tables[work.tables.size() > 1 ? k : 0]->view();
        Scales own{view.max_cutoff, view.max_sigma, view.max_stiffness};
        if (bonded)
            for (std::int64_t b = work.bond_first[networks ? k : 0];
                 b < work.bond_first[networks ? k + 1 : 1]; ++b)
                own.max_stiffness = std::max(own.max_stiffness, work.bonds.stiffness[b]);
        p.scales.push_back(own);
    }
    pack_stages(work, p);

    const double ball = d == 2 ? 3.1416 * cutoff * cutoff : 4.1888 * cutoff * cutoff * cutoff;
    p.shape = {n,
               d,
               types,
               first.n_coefficients,
               std::min(double(n), n * ball / least_volume),
               work.trajectory.every > 0};
    p.general = bonded || work.stages.size() > 1 ||
                (replicas.velocities != nullptr && !work.stages.empty());
    for (const Stage& stage : work.stages)
        p.general |= stage.kind != Stage::Kind::minimize || stage.at_pressure;

    Batch& batch = p.batch;
    batch.n_particles = n;
    batch.n_types = types;
    batch.types_each = replicas.type_each;
    batch.box_each = replicas.box_each;
    batch.table_each = work.tables.size() > 1;
    batch.scales_each = scales;
    batch.bonds_each = bonded && orders;
    batch.n_stages = int(work.stages.size());
    if (batch.n_stages > 0) batch.stage = work.stages.front();
    batch.key = work.key;
    batch.purposes = work.purposes;
    batch.trajectory.every = work.trajectory.every;
    batch.trajectory.frames = work.trajectory.frames;
    return p;
}

}  // namespace amorph::engine::device
