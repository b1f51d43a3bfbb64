/** One plot: a card with a title, lines over time and a legend that is a table of values. */

import uPlot from "uplot";
import type { Loss } from "./api.js";
import { Dots } from "./dots.js";
import { element, setText } from "./dom.js";
import { day, si, ticksText, timeOfDay, timeTicks } from "./format.js";
import { split } from "./layout.js";
import { type Surface, paintSeries } from "./paint.js";
import { COLOURS, colours } from "./palette.js";
import { type Scale, scaleTicks, valueScale } from "./scale.js";
import type { PlotState } from "./state.js";

/** What a plot asks of the page. */
export interface PlotOwner {
  /** The dots of a series, shared by all plots that show it. */
  dotsOf(name: string): Dots;
  zoom(from: number, until: number): void;
  followClock(): void;
  removeSeries(plot: Plot, name: string): void;
  removePlot(plot: Plot): void;
  losses(): readonly Loss[];
}

export interface View {
  from: number;
  until: number;
}

interface Row {
  name: string;
  hidden: boolean;
  root: HTMLElement;
  last: HTMLElement;
  least: HTMLElement;
  most: HTMLElement;
}

const TIME_STEPS = [
  0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600,
  7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800,
];

export class Plot {
  readonly root: HTMLElement;
  state: PlotState;
  private readonly heading: HTMLElement;
  private readonly frame: HTMLElement;
  private readonly tip: HTMLElement;
  private readonly tipTime: HTMLElement;
  private readonly tipRows: HTMLElement;
  private readonly empty: HTMLElement;
  private readonly table: HTMLElement;
  private rows: Row[] = [];
  private chart: uPlot | null = null;
  private scale: Scale = { low: 0, high: 1, step: 1 };
  private view: View = { from: 0, until: 1 };
  private cursorTime: number | null = null;
  private hovered = false;
  private readonly watch: ResizeObserver;

  constructor(
    state: PlotState,
    private readonly owner: PlotOwner,
  ) {
    this.state = state;
    this.heading = element("h2", {});
    const close = element("button", { class: "quiet", title: "Remove this plot", "aria-label": "Remove this plot" }, "×");
    close.onclick = () => owner.removePlot(this);
    this.tipTime = element("div", { class: "tip-time" });
    this.tipRows = element("div", { class: "tip-rows" });
    this.tip = element("div", { class: "tip", hidden: "" }, this.tipTime, this.tipRows);
    this.empty = element("div", { class: "plot-empty", hidden: "" }, "no dots in this window");
    this.frame = element("div", { class: "frame" }, this.empty, this.tip);
    this.table = element("div", { class: "legend" });
    this.root = element("section", { class: "plot" }, element("header", {}, this.heading, close), this.frame, this.table);
    this.watch = new ResizeObserver(() => this.resize());
    this.watch.observe(this.frame);
    this.update();
  }

  /** Takes up a state, or what has changed in the one it has. */
  show(state: PlotState): void {
    this.state = state;
    this.update();
  }

  update(): void {
    const before = new Map(this.rows.map((row) => [row.name, row]));
    this.rows = this.state.series.map((name) => before.get(name) ?? this.makeRow(name));
    this.rows.forEach((row, index) => {
      row.root.style.setProperty("--line", `var(--line-${index % COLOURS})`);
    });
    const head = element(
      "div",
      { class: "legend-row legend-head", "aria-hidden": "true" },
      element("span", {}),
      element("span", {}, "last"),
      element("span", { class: "wide" }, "min"),
      element("span", { class: "wide" }, "max"),
    );
    this.table.replaceChildren(head, ...this.rows.map((row) => row.root));
    const alone = this.state.series.length === 1 ? this.state.series[0]! : null;
    setText(this.heading, this.state.title || alone || "plot");
    this.heading.title = alone ?? this.state.title;
    for (const row of this.rows) {
      const label = row.root.querySelector<HTMLElement>(".name")!;
      const { parent, leaf } = split(row.name);
      const inside = this.state.title !== "" && parent === this.state.title;
      setText(label, inside ? leaf : row.name);
    }
  }

  destroy(): void {
    this.watch.disconnect();
    this.chart?.destroy();
    this.root.remove();
  }

  /** Columns the lines are drawn in, in device pixels. */
  get columns(): number {
    return Math.max(100, Math.round((this.chart?.bbox.width ?? 800) || 800));
  }

  /** Draws what lies in `view`; at most once per animation frame, which is the caller's to see to. */
  draw(view: View): void {
    this.view = view;
    const chart = this.chart;
    if (!chart) return;
    let low = Infinity;
    let high = -Infinity;
    for (const row of this.rows) {
      if (row.hidden) continue;
      const dots = this.owner.dotsOf(row.name);
      const end = dots.firstAfter(view.until);
      for (let index = dots.firstFrom(view.from); index < end; index++) {
        const value = dots.values[index]!;
        if (value < low) low = value;
        if (value > high) high = value;
      }
    }
    this.empty.hidden = low <= high || this.rows.length === 0;
    if (low === -Infinity) low = -1e300;
    if (high === Infinity) high = 1e300;
    this.scale = valueScale(low, high, Math.max(2, Math.floor(chart.bbox.height / devicePixelRatio / 42)));
    chart.batch(() => {
      chart.setScale("x", { min: view.from, max: view.until });
      chart.setScale("y", { min: this.scale.low, max: this.scale.high });
    });
    if (this.cursorTime !== null && chart.cursor.left !== undefined && chart.cursor.left >= 0) {
      this.cursorTime = chart.posToVal(chart.cursor.left, "x");
      this.showTip();
    }
  }

  /** Writes values into the legend: at the cursor where there is one, else the newest. */
  writeLegend(): void {
    for (const row of this.rows) {
      const dots = this.owner.dotsOf(row.name);
      const end = dots.firstAfter(this.view.until);
      let low = Infinity;
      let high = -Infinity;
      for (let index = dots.firstFrom(this.view.from); index < end; index++) {
        const value = dots.values[index]!;
        if (value < low) low = value;
        if (value > high) high = value;
      }
      const known = low <= high;
      const at = this.cursorTime === null ? end - 1 : this.placeAt(dots, this.cursorTime);
      setText(row.last, at >= 0 ? si(dots.values[at]!) : "–");
      setText(row.least, known ? si(low) : "–");
      setText(row.most, known ? si(high) : "–");
    }
  }

  /** Colours may have changed with the system's theme. */
  repaint(): void {
    this.chart?.destroy();
    this.chart = null;
    this.resize();
  }

  private makeRow(name: string): Row {
    const last = element("span", { class: "number" });
    const least = element("span", { class: "number wide" });
    const most = element("span", { class: "number wide" });
    const label = element("span", { class: "name" }, name);
    const toggle = element(
      "button",
      { class: "legend-name", title: `${name}\nclick to hide or show`, "aria-pressed": "true" },
      element("span", { class: "swatch" }),
      label,
    );
    const remove = element("button", { class: "quiet remove", title: "Remove from this plot", "aria-label": `Remove ${name}` }, "×");
    const root = element("div", { class: "legend-row" }, toggle, last, least, most, remove);
    const row: Row = { name, hidden: false, root, last, least, most };
    toggle.onclick = () => {
      row.hidden = !row.hidden;
      toggle.setAttribute("aria-pressed", String(!row.hidden));
      root.classList.toggle("hidden-line", row.hidden);
      this.draw(this.view);
    };
    remove.onclick = () => this.owner.removeSeries(this, name);
    return row;
  }

  private resize(): void {
    const { clientWidth: width, clientHeight: height } = this.frame;
    if (width < 40 || height < 40) return;
    if (this.chart) this.chart.setSize({ width, height });
    else this.chart = this.make(width, height);
    this.draw(this.view);
  }

  private make(width: number, height: number): uPlot {
    const { axis, faint, grid } = colours();
    const font = "11px system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif";
    const options: uPlot.Options = {
      width,
      height,
      padding: [10, 20, 0, 4],
      legend: { show: false },
      scales: { x: { time: false, auto: false }, y: { auto: false } },
      // The lines are drawn by hand below: every series has its own times, and joining them into one table
      // at every frame would cost more than drawing.
      series: [{}, { show: false }],
      cursor: {
        y: false,
        points: { show: false },
        sync: { key: "dotter", setSeries: false, scales: ["x", null] },
        drag: { x: true, y: false, setScale: false },
      },
      axes: [
        {
          stroke: faint,
          font,
          size: 28,
          gap: 6,
          grid: { show: false },
          ticks: { stroke: axis, size: 4, width: 1 },
          splits: (_, __, from, until) => timeSplits(from, until, Math.max(2, Math.floor(width / 92))),
          values: (_, splits) => timeTicks(splits, splits.length > 1 ? splits[1]! - splits[0]! : 1),
        },
        {
          stroke: faint,
          font,
          size: (_, texts) => 16 + 6.4 * Math.max(2, ...(texts ?? []).map((text) => text.length)),
          gap: 6,
          grid: { stroke: grid, width: 1 },
          ticks: { show: false },
          splits: () => scaleTicks(this.scale),
          values: (_, splits) => ticksText(splits),
        },
      ],
      hooks: {
        drawAxes: [(chart) => this.paintLosses(chart)],
        draw: [(chart) => this.paintLines(chart)],
        setCursor: [(chart) => this.moved(chart)],
        setSelect: [
          (chart) => {
            const { left, width } = chart.select;
            if (width < 4) return;
            const from = chart.posToVal(left, "x");
            const until = chart.posToVal(left + width, "x");
            chart.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
            this.owner.zoom(from, until);
          },
        ],
      },
    };
    const chart = new uPlot(options, [[0, 1], [null, null]], this.frame);
    chart.over.addEventListener("dblclick", () => this.owner.followClock());
    chart.over.addEventListener("pointerenter", () => (this.hovered = true));
    chart.over.addEventListener("pointerleave", () => {
      this.hovered = false;
      this.tip.hidden = true;
    });
    return chart;
  }

  private paintLines(chart: uPlot): void {
    const { ctx, bbox } = chart;
    const dpr = devicePixelRatio;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top - dpr, bbox.width, bbox.height + 2 * dpr);
    ctx.clip();
    const surface: Surface = { ...bbox, ...this.view, ...this.scale };
    for (let place = this.rows.length - 1; place >= 0; place--) {
      const row = this.rows[place]!;
      if (row.hidden) continue;
      const dots = this.owner.dotsOf(row.name);
      const start = Math.max(0, dots.firstFrom(this.view.from) - 1);
      const end = Math.min(dots.length, dots.firstAfter(this.view.until) + 1);
      const colour = colours().lines[place % COLOURS]!;
      ctx.strokeStyle = colour;
      ctx.fillStyle = colour;
      paintSeries(ctx, surface, dots, start, end);
    }
    ctx.restore();
  }

  /** Where dots were lost, the plot says so. */
  private paintLosses(chart: uPlot): void {
    const { ctx, bbox } = chart;
    const { from, until } = this.view;
    const perSecond = bbox.width / (until - from);
    ctx.save();
    ctx.fillStyle = colours().loss;
    for (const loss of this.owner.losses()) {
      if (loss.from === null || loss.until === null || loss.until < from || loss.from > until) continue;
      const left = bbox.left + Math.max(0, (loss.from - from) * perSecond);
      const right = bbox.left + Math.min(bbox.width, (loss.until - from) * perSecond);
      const width = Math.max(2 * devicePixelRatio, right - left);
      ctx.fillRect(left, bbox.top, width, bbox.height);
    }
    ctx.restore();
  }

  private moved(chart: uPlot): void {
    const left = chart.cursor.left ?? -1;
    this.cursorTime = left >= 0 ? chart.posToVal(left, "x") : null;
    if (this.cursorTime === null) this.tip.hidden = true;
    else this.showTip();
    this.writeLegend();
  }

  /** The dot a cursor points at: the nearest, unless nothing was measured around there. */
  private placeAt(dots: Dots, time: number): number {
    const at = dots.nearest(time);
    if (at < 0) return -1;
    const near = Math.max(dots.gap, (this.view.until - this.view.from) / 100);
    return Math.abs(dots.times[at]! - time) <= near ? at : -1;
  }

  private showTip(): void {
    const chart = this.chart;
    if (!this.hovered || this.cursorTime === null || !chart) return;
    const time = this.cursorTime;
    const fine = this.view.until - this.view.from <= 600;
    const today = day(time) === day(Date.now() / 1000);
    setText(this.tipTime, `${today ? "" : `${day(time)}, `}${timeOfDay(time, fine)}`);
    const found: { place: number; name: string; value: number }[] = [];
    this.rows.forEach((row, place) => {
      const dots = this.owner.dotsOf(row.name);
      const at = row.hidden ? -1 : this.placeAt(dots, time);
      const name = row.root.querySelector(".name")?.textContent ?? row.name;
      if (at >= 0) found.push({ place, name, value: dots.values[at]! });
    });
    found.sort((a, b) => b.value - a.value);
    const lines = found.slice(0, 12).map(({ place, name, value }) => {
      const swatch = element("span", { class: "swatch" });
      swatch.style.setProperty("--line", `var(--line-${place % COLOURS})`);
      return element("div", { class: "tip-row" }, swatch, element("span", { class: "name" }, name), element("span", { class: "number" }, si(value)));
    });
    if (found.length > 12) lines.push(element("div", { class: "tip-row faint" }, `and ${found.length - 12} more`));
    if (found.length === 0) lines.push(element("div", { class: "tip-row faint" }, "nothing measured here"));
    const loss = this.owner.losses().find((l) => l.from !== null && l.until !== null && l.from <= time && time <= l.until);
    if (loss) lines.push(element("div", { class: "tip-row tip-loss" }, `${loss.lost} dots of ${loss.application} lost: ${loss.reason}`));
    this.tipRows.replaceChildren(...lines);
    this.tip.hidden = false;
    // Beside the cursor, on the side where there is room.
    const x = chart.over.offsetLeft + (chart.cursor.left ?? 0);
    const right = x + 14 + this.tip.offsetWidth < this.frame.clientWidth;
    this.tip.style.transform = `translate(${Math.max(0, Math.round(right ? x + 14 : x - 14 - this.tip.offsetWidth))}px, 12px)`;
  }
}

/** Moments where this machine's clock has round numbers. */
function timeSplits(from: number, until: number, ticksMax: number): number[] {
  const least = (until - from) / ticksMax;
  const step = TIME_STEPS.find((candidate) => candidate >= least) ?? Math.ceil(least / 604_800) * 604_800;
  const offset = -new Date(from * 1000).getTimezoneOffset() * 60;
  const splits: number[] = [];
  for (let index = Math.ceil((from + offset) / step); index <= Math.floor((until + offset) / step); index++) {
    splits.push(index * step - offset);
  }
  return splits;
}
