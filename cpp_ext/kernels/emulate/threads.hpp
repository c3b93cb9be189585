// A GPU's threads on one CPU thread: each is a fibre with a stack of its own, and runs until it
// waits at a barrier or ends. Then another goes on: the next in order, or, with a seed, any one.
//
// Blocks run one after another, the blocks of a cluster together. Shared memory holds NaN at first,
// and a guard behind it that must stay. Nothing preempts a thread between barriers, so what is found
// is an order of threads that a missing barrier allows, not every tearing of it.
#pragma once
#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

namespace emulation {

struct Index {
    unsigned x = 1, y = 1, z = 1;
    unsigned count() const { return x * y * z; }
    Index at(unsigned i) const { return {i % x, i / x % y, i / x / y}; }
};

constexpr unsigned warp_size = 32;
constexpr std::size_t stack_bytes = 64 << 10, guard_bytes = 256;
constexpr unsigned char untouched = 0xff;  // NaN in every type of float

struct Thread;

// Threads that wait for each other.
struct Barrier {
    unsigned members = 0;
    std::vector<Thread *> waiting;
};

struct Warp {
    Barrier barrier;
    std::uint64_t slots[2][warp_size];  // taken in turns: no lane is two exchanges ahead
};

struct Block {
    Index index;
    unsigned rank;  // in the cluster
    Barrier barrier;
    std::vector<Warp> warps;
    std::vector<unsigned char> shared;
};

struct Thread {
    ucontext_t start;  // from here the first time, then from where it left: that takes no system call
    jmp_buf left;
    bool begun = false;
    std::unique_ptr<char[]> stack{new char[stack_bytes]};
    Index index;
    Block *block = nullptr;
    unsigned warp = 0, lane = 0, exchanges = 0;
    bool ended = false;
};

struct Launch {
    Index grid, block;
    unsigned cluster = 1;
    std::size_t shared = 0;
    std::uint64_t seed = 0;  // 0: threads go on in order
};

class Machine {
public:
    void run(const Launch &launch, const std::function<void()> &kernel) {
        launch_ = launch;
        kernel_ = kernel;
        random_.seed(launch.seed);
        if (launch.cluster == 0 || launch.grid.x % launch.cluster)
            throw std::runtime_error("the grid is no multiple of the cluster");
        const unsigned clusters = launch.grid.count() / launch.cluster;
        std::vector<unsigned> order(clusters);
        for (unsigned i = 0; i < clusters; ++i) order[i] = i;
        if (launch.seed) std::shuffle(order.begin(), order.end(), random_);
        for (unsigned i : order) run_cluster(i);
    }

    void wait(Barrier &barrier) {
        barrier.waiting.push_back(now);
        if (barrier.waiting.size() == barrier.members) {
            ready_.insert(ready_.end(), barrier.waiting.begin(), barrier.waiting.end());
            barrier.waiting.clear();
        }
        if (_setjmp(now->left) == 0) _longjmp(main_, 1);
    }

    Warp &warp() { return now->block->warps[now->warp]; }
    Block &block(unsigned rank) { return blocks_[rank]; }
    Barrier cluster_barrier;
    Launch launch_;
    Thread *now = nullptr;

private:
    void run_cluster(unsigned number) {
        const unsigned threads = launch_.block.count();
        if (threads % warp_size) throw std::runtime_error("a block is not of whole warps");
        blocks_.clear();
        blocks_.resize(launch_.cluster);
        while (threads_.size() < threads * launch_.cluster) threads_.emplace_back(new Thread);
        cluster_barrier = {};
        cluster_barrier.members = threads * launch_.cluster;
        ready_.clear();
        for (unsigned rank = 0; rank < launch_.cluster; ++rank) {
            Block &block = blocks_[rank];
            block.index = launch_.grid.at(number * launch_.cluster + rank);
            block.rank = rank;
            block.barrier.members = threads;
            block.warps.resize(threads / warp_size);
            for (Warp &warp : block.warps) warp.barrier.members = warp_size;
            block.shared.assign(launch_.shared + guard_bytes, untouched);
            for (unsigned i = 0; i < threads; ++i) begin(*threads_[rank * threads + i], block, i);
        }
        while (!ready_.empty()) go_on(take());
        for (unsigned i = 0; i < cluster_barrier.members; ++i)
            if (!threads_[i]->ended)
                throw std::runtime_error("threads wait for others that ended, or wait elsewhere");
        for (const Block &block : blocks_)
            for (std::size_t i = launch_.shared; i < block.shared.size(); ++i)
                if (block.shared[i] != untouched)
                    throw std::runtime_error("shared memory was written beyond its end");
    }

    void begin(Thread &thread, Block &block, unsigned i) {
        thread.index = launch_.block.at(i);
        thread.block = &block;
        thread.warp = i / warp_size;
        thread.lane = i % warp_size;
        thread.exchanges = 0;
        thread.ended = false;
        thread.begun = false;
        getcontext(&thread.start);
        thread.start.uc_stack.ss_sp = thread.stack.get();
        thread.start.uc_stack.ss_size = stack_bytes;
        makecontext(&thread.start, &Machine::body, 0);
        ready_.push_back(&thread);
    }

    Thread *take() {
        if (launch_.seed) std::swap(ready_.front(), ready_[random_() % ready_.size()]);
        Thread *thread = ready_.front();
        ready_.pop_front();
        return thread;
    }

    void go_on(Thread *thread);
    static void body();

    std::function<void()> kernel_;
    std::mt19937_64 random_;
    std::vector<std::unique_ptr<Thread>> threads_;
    std::vector<Block> blocks_;
    std::deque<Thread *> ready_;
    jmp_buf main_;
};

inline Machine machine;

}  // namespace emulation
