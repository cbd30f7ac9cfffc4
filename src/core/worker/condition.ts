/** Waits for a fact that changes with events: whoever changes it calls `changed`. */
export class Condition {
  #waiting: (() => void)[] = [];

  changed(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  /** True as soon as the fact holds, false when it did not within `ms`. */
  async until(fact: () => boolean, ms: number): Promise<boolean> {
    const deadline = performance.now() + ms;
    while (!fact()) {
      const left = deadline - performance.now();
      if (left <= 0) return false;
      let timer: NodeJS.Timeout | undefined;
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve);
        timer = setTimeout(resolve, left);
      });
      clearTimeout(timer);
    }
    return true;
  }
}
