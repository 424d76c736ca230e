#include "batch.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <new>
#include <stdexcept>
#include <thread>

#include "../potentials/potentials.h"
#include "rules/philox.h"

namespace amorph::engine {

namespace {

struct PotentialEntry {
    std::string name;
    std::vector<std::string> pair_parameters;
    int n_coefficients;
    void (*coefficients)(const double*, double*);
    double (*r_cut)(const double*);
    double (*max_stiffness)(const double*);
};

template <class Potential>
PotentialEntry entry() {
    return {Potential::name,
            {std::begin(Potential::pair_parameters), std::end(Potential::pair_parameters)},
            Potential::n_coefficients,
            Potential::coefficients,
            Potential::r_cut,
            Potential::max_stiffness};
}

template <class... Potentials>
std::vector<PotentialEntry> entries(potentials::List<Potentials...>) {
    return {entry<Potentials>()...};
}

const std::vector<PotentialEntry>& all_potentials() {
    static const std::vector<PotentialEntry> all = entries(potentials::Formulas{});
    return all;
}

const PotentialKernels& kernels(const std::string& instruction_set, int potential) {
#ifdef AMORPH_X86_KERNELS
    if (instruction_set == "avx512") return kernels_avx512(potential);
    if (instruction_set == "avx2") return kernels_avx2(potential);
#endif
    return kernels_generic(potential);
}

}  // namespace

std::vector<std::string> potential_names() {
    std::vector<std::string> names;
    for (const auto& p : all_potentials()) names.push_back(p.name);
    return names;
}

std::vector<std::string> pair_parameter_names(int potential) {
    return all_potentials().at(std::size_t(potential)).pair_parameters;
}

std::vector<std::string> instruction_sets() {
    std::vector<std::string> sets;
#ifdef AMORPH_X86_KERNELS
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq"))
        sets.push_back("avx512");
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) sets.push_back("avx2");
#endif
    sets.push_back("generic");
    return sets;
}

int find_potential(const std::string& name) {
    const auto& all = all_potentials();
    for (std::size_t p = 0; p < all.size(); ++p)
        if (all[p].name == name) return int(p);
    return -1;
}

PotentialTable::PotentialTable(int potential, int n_types, const double* sigma,
                               const std::vector<const double*>& pair_parameters)
    : potential_(potential) {
    const PotentialEntry& p = all_potentials().at(std::size_t(potential));
    if (pair_parameters.size() != p.pair_parameters.size())
        throw std::invalid_argument("wrong number of parameters for " + p.name);
    const int stride = std::max(n_types + 1, Workspace::lanes);  // and a ghost
    const auto count = std::size_t(p.n_coefficients);
    const std::size_t plane = std::size_t(n_types) * stride;
    coefficients_.assign(plane * count, 0.0);
    r_cut_.assign(plane, 0.0);
    view_ = {n_types, stride, p.n_coefficients, coefficients_.data(), r_cut_.data(), 0.0, 0.0,
             0.0,     {}};
    std::vector<double> in(1 + pair_parameters.size());
    std::vector<double> out(count);
    for (int s = 0; s < n_types; ++s)
        for (int t = 0; t < n_types; ++t) {
            const std::size_t from = std::size_t(s) * n_types + t;
            in[0] = sigma[from];
            for (std::size_t k = 0; k < pair_parameters.size(); ++k)
                in[k + 1] = pair_parameters[k][from];
            p.coefficients(in.data(), out.data());
            for (std::size_t k = 0; k < count; ++k)
                coefficients_[(std::size_t(s) * count + k) * stride + t] = out[k];
            const double r_cut = p.r_cut(in.data());
            r_cut_[std::size_t(s) * stride + t] = r_cut;
            view_.max_cutoff = std::max(view_.max_cutoff, r_cut);
            view_.max_sigma = std::max(view_.max_sigma, in[0]);
            view_.max_stiffness = std::max(view_.max_stiffness, p.max_stiffness(in.data()));
        }
}

PotentialTable::PotentialTable(const Tabulated& t) : potential_(potentials::table_index) {
    using potentials::Cells;
    using potentials::Table;
    const auto fail = [](const char* what) { throw std::invalid_argument(what); };
    if (t.n_breaks < 1 || t.n_breaks > Table::most_breaks) fail("wrong number of breaks");
    if (t.bits < 0 || t.bits > Cells::most_bits) fail("wrong number of bits");
    if (t.n_cells < 1) fail("a table has no cells");
    constexpr std::size_t count = Table::n_coefficients;
    const int stride = std::max(t.n_types + 1, Workspace::lanes);  // and a ghost
    const std::size_t plane = std::size_t(t.n_types) * stride;
    coefficients_.assign(plane * count, 0.0);
    r_cut_.assign(plane, 0.0);
    n_cells_ = t.n_cells;
    const std::size_t bytes = n_cells_ * Cells::size * sizeof(double);
    cells_ = {static_cast<double*>(std::aligned_alloc(64, bytes)), std::free};
    if (!cells_) throw std::bad_alloc();
    std::copy_n(t.cells, n_cells_ * Cells::size, cells_.get());
    view_ = {t.n_types,
             stride,
             int(count),
             coefficients_.data(),
             r_cut_.data(),
             0.0,
             0.0,
             t.max_stiffness,
             {cells_.get(), t.bits, t.n_breaks}};
    const int given = 2 + t.n_breaks;
    for (int s = 0; s < t.n_types; ++s)
        for (int u = 0; u < t.n_types; ++u) {
            const std::size_t from = std::size_t(s) * t.n_types + u;
            const double* c = t.coefficients + from * given;
            const double* const breaks = c + 2;
            const double last = breaks[t.n_breaks - 1];
            const auto number = [&](double x) {
                return std::int64_t(potentials::high_bits(x) >> (20 - t.bits));
            };
            // Of pairs that do not meet all is 0, as of a ghost.
            if (last > 0.0) {
                const auto first = std::int64_t(c[0]);
                const std::int64_t behind = first + number(last) - number(c[1]) + t.n_breaks;
                if (!(c[1] > 0.0 && c[1] < last) || !std::is_sorted(breaks, breaks + t.n_breaks) ||
                    first < 0 || behind >= std::int64_t(n_cells_))
                    fail("a pair of types reaches beyond the table's cells");
                // The sum of such a number and a small one has that in its lower bits.
                constexpr double integers = 6755399441055744.0;  // 1.5 2^52
                const auto put = [&](int k, double value) {
                    coefficients_[(std::size_t(s) * count + std::size_t(k)) * stride + u] = value;
                };
                put(Table::origin, integers + double(first - number(c[1])));
                put(Table::wall, c[1]);
                for (int k = 0; k < t.n_breaks; ++k) put(Table::first_break + k, breaks[k]);
            }
            r_cut_[std::size_t(s) * stride + u] = t.r_cut[from];
            view_.max_cutoff = std::max(view_.max_cutoff, t.r_cut[from]);
            view_.max_sigma = std::max(view_.max_sigma, t.sigma[from]);
        }
}

PotentialTable PotentialTable::none(int n_types, double diameter) {
    PotentialTable table;
    const int stride = std::max(n_types + 1, Workspace::lanes);
    const int count = all_potentials().front().n_coefficients;
    table.coefficients_.assign(std::size_t(n_types) * count * stride, 0.0);
    table.r_cut_.assign(std::size_t(n_types) * stride, 0.0);
    table.view_ = {n_types,  stride, count, table.coefficients_.data(), table.r_cut_.data(), 0.0,
                   diameter, 0.0,    {}};
    return table;
}

bool for_each_replica(std::int64_t n_replicas, int n_threads, std::atomic<bool>& stop,
                      const std::function<void(std::int64_t, Workspace&)>& work,
                      const std::function<bool(std::int64_t)>& poll) {
    std::atomic<std::int64_t> next{0};
    std::atomic<std::int64_t> done{0};
    std::mutex mutex;
    std::condition_variable finished;
    int running = 0;
    std::exception_ptr failure;

    const auto loop = [&] {
        try {
            Workspace workspace;
            while (!stop.load()) {
                const std::int64_t replica = next.fetch_add(1);
                if (replica >= n_replicas) break;
                work(replica, workspace);
                done.fetch_add(1);
            }
        } catch (...) {
            const std::lock_guard<std::mutex> lock(mutex);
            if (!failure) failure = std::current_exception();
            stop.store(true);
        }
        const std::lock_guard<std::mutex> lock(mutex);
        --running;
        finished.notify_one();
    };

    const int team = int(std::min<std::int64_t>(std::max(n_threads, 1), n_replicas));
    std::vector<std::thread> threads;
    threads.reserve(std::size_t(team));
    for (int t = 0; t < team; ++t) {
        {
            const std::lock_guard<std::mutex> lock(mutex);
            ++running;
        }
        threads.emplace_back(loop);
    }
    try {
        std::unique_lock<std::mutex> lock(mutex);
        while (!finished.wait_for(lock, std::chrono::milliseconds(100),
                                  [&] { return running == 0; })) {
            lock.unlock();
            if (!poll(done.load())) stop.store(true);
            lock.lock();
        }
    } catch (...) {  // from poll: the threads must end before their variables do
        stop.store(true);
        for (auto& thread : threads) thread.join();
        throw;
    }
    for (auto& thread : threads) thread.join();
    if (failure) std::rethrow_exception(failure);
    return done.load() == n_replicas && !stop.load();
}

bool run_replicas(const Replicas& replicas, const Work& work, ReplicaResult* results,
                  double* forces, const std::function<bool(std::int64_t)>& poll) {
    const PotentialKernels& kernel =
        kernels(work.instruction_set, work.tables.front()->potential());
    const int d = replicas.dimension;
    const int n = replicas.n_particles;
    const bool measure = work.stages.empty();
    std::atomic<bool> stop{false};

    const auto one = [&](std::int64_t replica, Workspace& w) {
        const auto start = std::chrono::steady_clock::now();
        PairTable table = work.tables[work.tables.size() > 1 ? std::size_t(replica) : 0]->view();
        w.prepare(n, d, table);
        Bonds bonds{};
        if (!work.bond_first.empty()) {
            const std::size_t b = work.bond_first.size() > 2 ? std::size_t(replica) : 0;
            const std::int64_t first = work.bond_first[b];
            bonds = {work.bond_first[b + 1] - first, work.bonds.pairs + 2 * first,
                     work.bonds.stiffness + first, work.bonds.length + first};
            for (std::int64_t k = 0; k < bonds.count; ++k)
                table.max_stiffness = std::max(table.max_stiffness, bonds.stiffness[k]);
        }
        w.set_bonds(bonds);
        const std::int64_t offset = replica * n * d;
        double* positions = replicas.positions + offset;
        double* velocities =
            replicas.velocities != nullptr ? replicas.velocities + offset : nullptr;
        const std::int32_t* type = replicas.type + (replicas.type_each ? replica * n : 0);
        for (int i = 0; i < n; ++i) {
            for (int a = 0; a < d; ++a) {
                w.x[i * w.stride + a] = positions[i * d + a];
                if (velocities != nullptr) w.v[i * w.stride + a] = velocities[i * d + a];
            }
            w.type[i] = type[i];
        }
        Box box = replicas.boxes[replicas.box_each ? replica : 0];
        Task task{};
        task.box = &box;
        task.table = &table;
        task.stages = work.stages.data();
        task.n_stages = int(work.stages.size());
        task.key = work.key.of(replica);
        task.purposes = work.purposes;
        task.trajectory = work.trajectory;
        const std::int64_t frames = replica * work.trajectory.frames * n * d;
        if (task.trajectory.positions != nullptr) task.trajectory.positions += frames;
        if (task.trajectory.velocities != nullptr) task.trajectory.velocities += frames;
        task.stop = &stop;
        ReplicaResult& result = results[replica];
        result.outcome = measure ? kernel.measure[d - 2](w, task) : kernel.run[d - 2](w, task);
        if (!measure && replicas.box_each) replicas.boxes[replica] = box;
        for (int i = 0; i < n; ++i) {
            const std::int64_t to = std::int64_t(w.id[i]) * d;
            if (!measure) {
                double r[3] = {}, s[3];
                std::int32_t images[3] = {};
                for (int a = 0; a < d; ++a) r[a] = w.x[i * w.stride + a];
                box.wrap(d, r, s, images);
                for (int a = 0; a < d; ++a) positions[to + a] = r[a];
                if (velocities != nullptr)
                    for (int a = 0; a < d; ++a) velocities[to + a] = w.v[i * w.stride + a];
            }
            if (forces != nullptr)
                for (int a = 0; a < d; ++a) forces[offset + to + a] = w.f[i * w.stride + a];
        }
        result.seconds =
            std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    };
    return for_each_replica(replicas.n_replicas, work.n_threads, stop, one, poll);
}

void random_positions(const RandomKey& first, const std::uint32_t* purposes,
                      const Replicas& replicas) {
    const int d = replicas.dimension;
    const int n = replicas.n_particles;
    for (std::int64_t r = 0; r < replicas.n_replicas; ++r) {
        const Box& box = replicas.boxes[replicas.box_each ? r : 0];
        const RandomKey key = first.of(r);
        const auto numbers = [&](int half, std::uint32_t particle) {
            return Philox(key.seed, purposes[half] << 24 | particle, key.replica, key.stream, 0);
        };
        for (int i = 0; i < n; ++i) {
            const auto particle = static_cast<std::uint32_t>(i);
            const Philox xy = numbers(0, particle);
            double s[3] = {xy.uniform(0) - 0.5, xy.uniform(1) - 0.5, 0.0};
            if (d == 3) s[2] = numbers(1, particle).uniform(0) - 0.5;
            double* x = replicas.positions + (r * n + i) * d;
            for (int a = 0; a < d; ++a) {
                x[a] = 0.0;
                for (int b = a; b < d; ++b) x[a] += box.h[a][b] * s[b];
            }
        }
    }
}

void evaluate_pairs(const PotentialTable& table, const std::string& instruction_set, std::int64_t n,
                    const double* r, double* energy, double* force_over_r) {
    kernels(instruction_set, table.potential()).pairs(table.view(), n, r, energy, force_over_r);
}

}  // namespace amorph::engine
