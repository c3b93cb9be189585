// The latest wish wins: one request is on its way, at most one waits, and a newer one replaces it.

export class Latest {
  /** work: async (wish) -> result. done(result, wish), failed(error, wish): told of each. */
  constructor(work, done, failed) {
    Object.assign(this, { work, done, failed, running: false, next: undefined });
  }

  ask(wish) {
    this.next = wish;
    if (!this.running) this.#run();
  }

  /** Forget what waits; what is on its way is not shown any more. */
  drop() {
    this.next = undefined;
    this.dropped = true;
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
  }
}
