/** Waits until a predicate holds: whatever changes what it depends on calls `changed`. */
export class Condition {
  #waiting: (() => void)[] = [];

  changed(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  /** True as soon as the predicate holds, false when it did not within `ms`. */
  async until(predicate: () => boolean, ms: number): Promise<boolean> {
    const deadline = performance.now() + ms;
    while (!predicate()) {
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
