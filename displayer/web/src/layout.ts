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
  const plots: (PlotState & { rate: number })[] = [];
  for (const [parent, family] of families) {
    for (const group of bySize(family)) {
      const chosen = [...group].sort((a, b) => b.rate - a.rate || compareNames(a.name, b.name));
      for (let start = 0; start < chosen.length && start < LINES_PER_PLOT * 2; start += LINES_PER_PLOT) {
        const lines = chosen.slice(start, start + LINES_PER_PLOT);
        const series = lines.map((row) => row.name).sort(compareNames);
        const title = series.length === 1 ? series[0]! : parent || "all series";
        plots.push({ title, series, rate: lines.reduce((sum, row) => sum + row.rate, 0) });
      }
    }
  }
  // Chosen by how busy they are, shown by name: the order must not change from visit to visit.
  plots.sort((a, b) => b.rate - a.rate || compareNames(a.title, b.title));
  return plots
    .slice(0, PLOTS_MAX)
    .map(({ title, series }) => ({ title, series }))
    .sort((a, b) => compareNames(a.title, b.title));
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
