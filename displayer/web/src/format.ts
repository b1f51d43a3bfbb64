/** Numbers and times as a reader takes them in. The server's charts write the same. */

const UNITS: readonly (readonly [worth: number, prefix: string])[] = [
  [1e18, "E"],
  [1e15, "P"],
  [1e12, "T"],
  [1e9, "G"],
  [1e6, "M"],
  [1e3, "k"],
  [1, ""],
  [1e-6, "µ"],
  [1e-9, "n"],
];

/** Thousandths are written out: 0.25 reads better than 250m. */
function unitOf(value: number): readonly [number, string] {
  const size = Math.abs(value);
  if (size === 0 || (size >= 0.001 && size < 999.95)) return [1, ""];
  return UNITS.find(([worth]) => size >= worth * 0.9995) ?? [1, ""];
}

/** Four digits at most and an SI prefix. */
export function si(value: number | null | undefined): string {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const [worth, prefix] = unitOf(value);
  const scaled = value / worth;
  const size = Math.abs(scaled);
  if (size >= 1e6) return minus(`${scaled.toExponential(2)}${prefix}`);
  let digits = 0;
  if (size > 0 && size < 1) digits = Math.min(6, 2 - Math.floor(Math.log10(size)));
  else if (size >= 1) digits = Math.max(0, 3 - Math.floor(Math.log10(size)));
  const text = scaled.toFixed(digits);
  return minus((text.includes(".") ? text.replace(/\.?0+$/, "") : text) + prefix);
}

/** Ticks of one axis: one prefix and as many digits as tell neighbours apart. */
export function ticksText(values: readonly number[]): string[] {
  const largest = Math.max(...values.map(Math.abs), 0);
  const [worth, prefix] = unitOf(largest);
  const step = values.length > 1 ? Math.abs(values[1]! - values[0]!) : largest || 1;
  const digits = Math.min(9, Math.max(0, -Math.floor(Math.log10(step / worth) + 1e-9)));
  return values.map((value) => {
    if (value === 0) return "0";
    const scaled = value / worth;
    if (Math.abs(scaled) >= 1e6 || digits >= 9) return minus(`${scaled.toExponential(1)}${prefix}`);
    return minus(scaled.toFixed(digits) + prefix);
  });
}

const minus = (text: string): string => text.replace("-", "−");

/** Whole numbers with groups of three. */
export const count = (value: number): string => value.toLocaleString("en-US");

const two = (value: number): string => String(value).padStart(2, "0");
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** Time of day on this machine's clock, with milliseconds where asked. */
export function timeOfDay(seconds: number, millis = false): string {
  const date = new Date(seconds * 1000);
  const text = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  return millis ? `${text}.${String(date.getMilliseconds()).padStart(3, "0")}` : text;
}

/** `15 Mar`. */
export function day(seconds: number): string {
  const date = new Date(seconds * 1000);
  return `${date.getDate()} ${MONTHS[date.getMonth()]}`;
}

/** Labels of a time axis: as fine as its ticks are, and the day where one begins. */
export function timeTicks(values: readonly number[], step: number): string[] {
  return values.map((seconds) => {
    const date = new Date(seconds * 1000);
    const midnight = date.getHours() === 0 && date.getMinutes() === 0 && date.getSeconds() === 0;
    if (step >= 86_400 || (midnight && date.getMilliseconds() === 0)) return day(seconds);
    if (step >= 60) return `${two(date.getHours())}:${two(date.getMinutes())}`;
    if (step >= 1) return timeOfDay(seconds);
    return timeOfDay(seconds, true).slice(3);
  });
}

/** A length of time in one unit: `12 s`, `5 min`, `3 h`. */
export function ago(seconds: number): string {
  if (seconds < 1) return "a moment";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} d`;
}
