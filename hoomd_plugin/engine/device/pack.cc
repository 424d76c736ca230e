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
    for (const Stage& stage : work.stages) {
        if (stage.kind != Stage::Kind::minimize)
            refuse("the GPU minimises and measures only: it has no time steps");
        if (stage.at_pressure) refuse("the GPU minimises in a fixed box, not at fixed pressure");
    }
    if (work.stages.size() > 1) refuse("the GPU runs one minimisation, not several stages");
    if (replicas.velocities != nullptr)
        refuse("the GPU minimises from rest: it takes no velocities");
    const PairTable& first = work.tables.front()->view();
    if (first.n_types > 65535) refuse("more than 65535 types are too many for the GPU");
    for (const PotentialTable* table : work.tables)
        if (table->potential() != work.tables.front()->potential() ||
            table->view().n_types != first.n_types)
            throw std::invalid_argument(
                "the replicas' tables must be of one potential and as many types");
}

}  // namespace

Packed pack(const Replicas& replicas, const Work& work) {
    check(replicas, work);
    Packed p{};
    const int n = replicas.n_particles;
    const int d = replicas.dimension;
    const PairTable& first = work.tables.front()->view();
    const int types = first.n_types;
    p.dimension = d;
    p.potential = work.tables.front()->potential();

    const std::int64_t n_orders = replicas.type_each ? replicas.n_replicas : 1;
    std::vector<int> order(static_cast<std::size_t>(n));
    for (std::int64_t k = 0; k < n_orders; ++k) {
        const std::int32_t* type = replicas.type + k * n;
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end(),
                         [type](int i, int j) { return type[i] < type[j]; });
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

    double cutoff = 0.0;
    for (const PotentialTable* table : work.tables) {
        const PairTable& view = table->view();
        for (int s = 0; s < types; ++s)
            for (int t = 0; t < types; ++t) {
                for (int k = 0; k < view.n_coefficients; ++k)
                    p.coefficients.push_back(
                        view.coefficients[(std::int64_t(s) * view.n_coefficients + k) *
                                              view.stride +
                                          t]);
                p.r_cut.push_back(view.r_cut[std::int64_t(s) * view.stride + t]);
            }
        p.scales.push_back({view.max_cutoff, view.max_sigma, view.max_stiffness});
        cutoff = std::max(cutoff, view.max_cutoff);
    }

    const double ball = d == 2 ? 3.1416 * cutoff * cutoff : 4.1888 * cutoff * cutoff * cutoff;
    p.shape = {n, d, types, first.n_coefficients, std::min(double(n), n * ball / least_volume)};

    Batch& batch = p.batch;
    batch.n_particles = n;
    batch.n_types = types;
    batch.types_each = replicas.type_each;
    batch.box_each = replicas.box_each;
    batch.table_each = work.tables.size() > 1;
    batch.minimize = !work.stages.empty();
    if (batch.minimize) {
        const Stage& stage = work.stages.front();
        batch.tolerance = stage.tolerance;
        batch.max_steps = stage.steps;
        batch.fire = stage.fire;
    }
    return p;
}

}  // namespace amorph::engine::device
