/** The value axis: round numbers at even distances. The server's charts have the same. */

export interface Scale {
  low: number;
  high: number;
  step: number;
}

export function valueScale(low: number, high: number, ticks: number): Scale {
  if (!(low <= high)) [low, high] = [0, 1];
  low = Math.max(low, -1e300);
  high = Math.min(high, 1e300);
  if (low > 0 && (low < high / 3 || low === high)) low = 0;
  else if (high < 0 && (high > low / 3 || low === high)) high = 0;
  else if (low === high) high = 1;
  const step = roundStep((high - low) / Math.max(1, ticks));
  return { low: Math.floor(low / step + 1e-9) * step, high: Math.ceil(high / step - 1e-9) * step, step };
}

/** The least of 1, 2, 5 times a power of ten that is not below `least`. */
function roundStep(least: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(least, 1e-300)));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= least * 0.999999) ?? power * 10;
}

export function scaleTicks({ low, high, step }: Scale): number[] {
  const count = Math.min(100, Math.round((high - low) / step));
  const first = Math.round(low / step);
  return Array.from({ length: count + 1 }, (_, index) => (first + index) * step);
}
