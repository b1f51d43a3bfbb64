/**
 * What is on the screen, kept in the address so that a link shows the same.
 *
 * `#w=5m&g=TITLE&s=SERIES&s=SERIES&g=...`: `w` the window, `from` and `until` one that stands still, `g`
 * begins a plot, `s` adds a series to it. Without `g` the page chooses plots itself.
 */

export interface PlotState {
  title: string;
  series: string[];
}

export interface PageState {
  /** Width of the window that follows the clock, in seconds. */
  span: number;
  /** A window that stands still, instead. */
  fixed: { from: number; until: number } | null;
  /** Null where the page chooses. */
  plots: PlotState[] | null;
}

export const SPANS: readonly (readonly [label: string, seconds: number])[] = [
  ["1m", 60],
  ["5m", 300],
  ["15m", 900],
  ["1h", 3600],
  ["6h", 21_600],
];

const DEFAULT_SPAN = 60;

export function readState(hash: string): PageState {
  const state: PageState = { span: DEFAULT_SPAN, fixed: null, plots: null };
  let from = NaN;
  let until = NaN;
  for (const [key, value] of new URLSearchParams(hash.replace(/^#/, ""))) {
    if (key === "w") state.span = SPANS.find(([label]) => label === value)?.[1] ?? DEFAULT_SPAN;
    else if (key === "from") from = Number(value);
    else if (key === "until") until = Number(value);
    else if (key === "g") (state.plots ??= []).push({ title: value, series: [] });
    else if (key === "s") {
      state.plots ??= [{ title: "", series: [] }];
      const plot = state.plots.at(-1)!;
      if (value && !plot.series.includes(value)) plot.series.push(value);
    }
  }
  if (from > 0 && until > from) state.fixed = { from, until };
  return state;
}

export function writeState(state: PageState): string {
  const parameters = new URLSearchParams();
  const label = SPANS.find(([, seconds]) => seconds === state.span)?.[0];
  if (label && (state.span !== DEFAULT_SPAN || state.fixed)) parameters.append("w", label);
  if (state.fixed) {
    parameters.append("from", state.fixed.from.toFixed(3));
    parameters.append("until", state.fixed.until.toFixed(3));
  }
  for (const plot of state.plots ?? []) {
    parameters.append("g", plot.title);
    for (const name of plot.series) parameters.append("s", name);
  }
  const text = parameters.toString();
  return text ? `#${text}` : "";
}
