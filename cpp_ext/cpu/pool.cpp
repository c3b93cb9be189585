// Why not OpenMP: torch, ONNX Runtime and OpenCV bring run times of their own, two of which in one
// process can stop it at start or fight for the cores, and theirs spin while they wait. These
// threads sleep, and a child of fork() gets threads of its own instead of waiting for lost ones.
#include "pool.hpp"

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>

#if !defined(_WIN32)
#include <unistd.h>
#endif

namespace mien {

namespace {

long process() {
#if defined(_WIN32)
    return 0;
#else
    return static_cast<long>(getpid());
#endif
}

class Job {
public:
    Job(i64 count, int threads, const Work &work)
        : count_(count), block_(count / (4 * threads) + 1), work_(work) {}

    // Take ranges until there are none.
    void help(int slot) {
        for (;;) {
            const i64 begin = next_.fetch_add(block_, std::memory_order_relaxed);
            if (begin >= count_) return;
            work_(slot, begin, begin + block_ < count_ ? begin + block_ : count_);
        }
    }

private:
    const i64 count_, block_;
    const Work &work_;
    std::atomic<i64> next_{0};
};

class Pool {
public:
    const long owner = process();

    void share(i64 count, int threads, const Work &work) {
        std::unique_lock<std::mutex> mine(busy_, std::try_to_lock);
        if (threads <= 1 || count <= 1 || !mine.owns_lock()) return work(0, 0, count);
        const int helpers = started(threads - 1);
        Job job(count, helpers + 1, work);
        {
            std::lock_guard<std::mutex> lock(mutex_);
            job_ = &job;
            wanted_ = helpers;
        }
        wake_.notify_all();
        job.help(0);
        std::unique_lock<std::mutex> lock(mutex_);
        wanted_ = 0;  // whoever has not woken up by now need not
        done_.wait(lock, [this] { return active_ == 0; });
        job_ = nullptr;
    }

private:
    // Start threads until there are as many; returns how many of them may help.
    int started(int wanted) {
        try {
            for (; count_ < wanted; ++count_) std::thread([this] { live(); }).detach();
        } catch (const std::system_error &) {  // the system gives no more
        }
        return count_ < wanted ? count_ : wanted;
    }

    void live() {
        std::unique_lock<std::mutex> lock(mutex_);
        for (;;) {
            wake_.wait(lock, [this] { return wanted_ > 0; });
            const int slot = wanted_--;
            ++active_;
            Job *job = job_;
            lock.unlock();
            job->help(slot);
            lock.lock();
            if (--active_ == 0) done_.notify_one();
        }
    }

    std::mutex busy_;  // held by the call whose work is shared
    int count_ = 0;
    std::mutex mutex_;  // guards what follows
    std::condition_variable wake_, done_;
    Job *job_ = nullptr;
    int wanted_ = 0, active_ = 0;
};

// Never destroyed: its threads sleep in it until the process ends.
Pool &pool() {
    static std::atomic<Pool *> current{nullptr};
    Pool *found = current.load();
    while (!found || found->owner != process()) {  // none yet, or that of the parent
        Pool *fresh = new Pool;
        if (current.compare_exchange_strong(found, fresh))
            found = fresh;
        else
            delete fresh;
    }
    return *found;
}

}  // namespace

void share(i64 count, int threads, const Work &work) { pool().share(count, threads, work); }

}  // namespace mien
