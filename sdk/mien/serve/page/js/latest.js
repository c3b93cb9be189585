// The latest wish wins: one request is on its way, at most one waits, and a newer one replaces it.

export class Latest {
  /** work: async (wish) -> result. done(result, wish), failed(error, wish): told of each.
   *  busy(whether): told when there is something to wait for, and when there is nothing. */
  constructor(work, done, failed, busy = () => {}) {
    Object.assign(this, { work, done, failed, busy, running: false, next: undefined });
  }

  ask(wish) {
    this.next = wish;
    this.busy(true);
    if (!this.running) this.#run();
  }

  /** Forget what waits; what is on its way is not shown any more. */
  drop() {
    this.next = undefined;
    this.dropped = true;
    this.busy(false);
  }

  async #run() {
    this.running = true;
    while (this.next !== undefined) {
      const wish = this.next;
      this.next = undefined;
      this.dropped = false;
      try {
        const result = await this.work(wish);
        if (!this.dropped) this.done(result, wish);
      } catch (error) {
        if (!this.dropped && this.next === undefined) this.failed(error, wish);
      }
    }
    this.running = false;
    this.busy(false);
  }
}
