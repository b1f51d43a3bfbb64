/** Which series share a plot when nobody has said so: those under one parent, and of one order of size. */

import type { SeriesRow } from "./api.js";
import type { PlotState } from "./state.js";

export const LINES_PER_PLOT = 8;
const PLOTS_MAX = 8;

/** `host.web1.cpu.user;core=2` -> `host.web1.cpu` and `user;core=2`. */
export function split(name: string): { parent: string; leaf: string } {
  const path = name.split(";", 1)[0]!;
  const dot = path.lastIndexOf(".");
  return dot < 0 ? { parent: "", leaf: name } : { parent: name.slice(0, dot), leaf: name.slice(dot + 1) };
}

/**
 * Plots for the busiest series.
 *
 * Below one parent, series whose values lie ten thousandfold apart go on plots of their own: drawn on one
 * axis the smaller would be a flat line at zero.
 */
export function chooseLayout(rows: readonly SeriesRow[]): PlotState[] {
  const families = new Map<string, SeriesRow[]>();
  for (const row of rows) {
    const { parent } = split(row.name);
    const family = families.get(parent);
    if (family) family.push(row);
    else families.set(parent, [row]);
  }
  // Only children are not worth a plot each: those of one grandparent share one.
  const orphans = new Map<string, SeriesRow[]>();
  for (const [parent, family] of [...families]) {
    if (family.length > 1 || parent === "") continue;
    const above = split(parent).parent || parent;
    const row = family[0]!;
    orphans.set(above, [...(orphans.get(above) ?? []), row]);
    families.delete(parent);
  }
  for (const [parent, family] of orphans) {
    const merged = [...(families.get(parent) ?? []), ...family];
    families.set(parent, merged);
  }
  const plots: Candidate[] = [];
  for (const [parent, family] of families) {
    for (const group of bySize(family)) {
      const chosen = [...group].sort((a, b) => b.rate - a.rate || compareNames(a.name, b.name));
      for (let start = 0; start < chosen.length && start < LINES_PER_PLOT * 2; start += LINES_PER_PLOT) {
        const lines = chosen.slice(start, start + LINES_PER_PLOT);
        const series = lines.map((row) => row.name).sort(compareNames);
        const title = series.length === 1 ? series[0]! : parent || "all series";
        plots.push({ title, series, parent, pace: pace(lines), depth: depth(parent, lines), turn: 0 });
      }
    }
  }
  // The busiest first; of the equally busy the more general, and one of each kind before the second of any.
  plots.sort((a, b) => b.pace - a.pace || a.depth - b.depth || compareNames(a.title, b.title));
  const general = new Map<number, number>();
  for (const { pace, depth } of plots) general.set(pace, Math.min(depth, general.get(pace) ?? Infinity));
  const turns = new Map<string, number>();
  const pass = (kind: string): number => {
    const turn = turns.get(kind) ?? 0;
    turns.set(kind, turn + 1);
    return turn;
  };
  for (const plot of plots) {
    const turn = pass(split(plot.parent).parent);
    plot.turn = plot.depth === general.get(plot.pace) ? 0 : turn;
    // What lies below it is of its kind.
    pass(plot.parent);
  }
  plots.sort((a, b) => b.pace - a.pace || a.turn - b.turn || a.depth - b.depth || compareNames(a.title, b.title));
  // Chosen by how busy they are, shown by name: the order must not change from visit to visit.
  return plots
    .slice(0, PLOTS_MAX)
    .sort((a, b) => compareNames(a.title, b.title))
    .map(({ title, series }) => ({ title, series }));
}

interface Candidate extends PlotState {
  parent: string;
  pace: number;
  /** Parts of the name that its lines lie under. */
  depth: number;
  /** How many of its siblings stand before it. */
  turn: number;
}

/** Only children that share a plot come behind families. */
function depth(parent: string, lines: readonly SeriesRow[]): number {
  const own = lines.map((row) => split(row.name).parent);
  return own.every((name) => name === parent) ? parent.split(".").length : own[0]!.split(".").length + 1.5;
}

/** How busy a plot's busiest line is, in powers of two: a count over a few seconds is no more exact than that. */
function pace(lines: readonly SeriesRow[]): number {
  const busiest = lines.reduce((most, row) => Math.max(most, row.rate), 0);
  return busiest > 0 ? Math.round(Math.log2(busiest)) : -Infinity;
}

/** Splits where sorted sizes jump; zero goes with whatever is smallest. */
function bySize(family: readonly SeriesRow[]): SeriesRow[][] {
  const size = (row: SeriesRow): number => Math.abs(row.value ?? 0);
  const sorted = [...family].sort((a, b) => size(a) - size(b));
  const groups: SeriesRow[][] = [[]];
  let before = 0;
  for (const row of sorted) {
    if (before > 0 && size(row) > before * 1e4) groups.push([]);
    groups.at(-1)!.push(row);
    before = size(row);
  }
  return groups;
}

const collator = new Intl.Collator("en", { numeric: true });

export const compareNames = (a: string, b: string): number => collator.compare(a, b);
