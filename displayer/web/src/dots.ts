/**
 * Dots of one series, sorted by time and few enough to draw.
 *
 * Where there are many more than the screen has columns, older ones are thinned to the first, smallest,
 * largest and last of each column, so that no spike is lost and memory stays bounded however long the page
 * is open.
 */
export class Dots {
  readonly times: number[] = [];
  readonly values: number[] = [];
  /** Dots further apart than this, in seconds, are not joined. */
  gap = Infinity;
  /** Whether the server could tell the gap; else it is guessed from the dots here. */
  private gapKnown = false;
  private thinnedUntil = -Infinity;

  get length(): number {
    return this.times.length;
  }

  get last(): number | null {
    return this.values.at(-1) ?? null;
  }

  get lastTime(): number | null {
    return this.times.at(-1) ?? null;
  }

  /** Adds a dot; null is a value that JSON has no word for, and breaks the line. */
  add(time: number, value: number | null): void {
    const number = value ?? NaN;
    const end = this.times.length;
    if (end === 0 || time >= this.times[end - 1]!) {
      this.times.push(time);
      this.values.push(number);
      return;
    }
    const at = this.firstAfter(time);
    this.times.splice(at, 0, time);
    this.values.splice(at, 0, number);
  }

  /** Takes what the server has on record; of the dots here only those after it stay. */
  replace(history: readonly (readonly [number, number | null])[], gap: number | null): void {
    const end = history.at(-1)?.[0] ?? -Infinity;
    const keep = this.firstAfter(end);
    const times = this.times.splice(keep);
    const values = this.values.splice(keep);
    this.times.length = 0;
    this.values.length = 0;
    for (const [time, value] of history) {
      this.times.push(time);
      this.values.push(value ?? NaN);
    }
    for (let index = 0; index < times.length; index++) {
      this.times.push(times[index]!);
      this.values.push(values[index]!);
    }
    this.thinnedUntil = -Infinity;
    this.gapKnown = gap !== null;
    this.gap = gap ?? this.guessGap();
  }

  /** The place of the first dot at or after `time`. */
  firstFrom(time: number): number {
    let low = 0;
    let high = this.times.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.times[middle]! < time) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The place of the first dot after `time`. */
  firstAfter(time: number): number {
    let low = 0;
    let high = this.times.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.times[middle]! <= time) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The place of the dot nearest to `time`, -1 where there is none. */
  nearest(time: number): number {
    const at = this.firstFrom(time);
    if (at === 0) return this.times.length ? 0 : -1;
    if (at === this.times.length) return at - 1;
    return time - this.times[at - 1]! <= this.times[at]! - time ? at - 1 : at;
  }

  /** Forgets what nobody will look at again and thins what is too dense to see. */
  tidy(from: number, columnSeconds: number, dotsMax: number): void {
    // One dot before the window stays: the line comes in from it.
    const drop = this.firstFrom(from) - 1;
    if (drop > 256) {
      this.times.splice(0, drop);
      this.values.splice(0, drop);
    }
    if (!this.gapKnown) this.gap = this.guessGap();
    if (this.times.length > dotsMax) this.thin(columnSeconds);
  }

  /** Columns stand at multiples of their width, so that thinning twice changes nothing. */
  private thin(width: number): void {
    const end = Math.floor(this.times.at(-1)! / width) * width;
    const start = this.firstFrom(this.thinnedUntil);
    const stop = this.firstFrom(end);
    let kept = start;
    let at = start;
    const copy = (from: number): void => {
      this.times[kept] = this.times[from]!;
      this.values[kept] = this.values[from]!;
      kept++;
    };
    while (at < stop) {
      const next = Math.min(stop, this.firstFrom((Math.floor(this.times[at]! / width) + 1) * width));
      const past = Math.max(next, at + 1);
      let least = at;
      let most = at;
      for (let index = at + 1; index < past; index++) {
        if (!(this.values[index]! >= this.values[least]!)) least = index;
        if (!(this.values[index]! <= this.values[most]!)) most = index;
      }
      const places = [...new Set([at, Math.min(least, most), Math.max(least, most), past - 1])];
      places.forEach(copy);
      at = past;
    }
    this.times.splice(kept, stop - kept);
    this.values.splice(kept, stop - kept);
    this.thinnedUntil = end;
  }

  /** As the server tells it: a regular series has missed two dots. */
  private guessGap(): number {
    const gaps: number[] = [];
    for (let index = Math.max(1, this.times.length - 256); index < this.times.length; index++) {
      const gap = this.times[index]! - this.times[index - 1]!;
      if (gap > 0) gaps.push(gap);
    }
    if (gaps.length < 4) return Infinity;
    gaps.sort((a, b) => a - b);
    return Math.max(1.5, 2.2 * gaps[Math.floor((gaps.length - 1) * 0.9)]!);
  }
}
