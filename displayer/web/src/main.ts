/** The page: plots that move with the clock, the list of series beside them, one live stream for both. */

import { type Loss, type Pair, Waiting, dots as askDots, seriesPage } from "./api.js";
import { Dots } from "./dots.js";
import { byId, element, setText } from "./dom.js";
import { ago, day, timeOfDay } from "./format.js";
import { LINES_PER_PLOT, chooseLayout, compareNames, split } from "./layout.js";
import { SeriesList } from "./list.js";
import { type Link, Live } from "./live.js";
import { LossBadge } from "./losses.js";
import { forgetColours } from "./palette.js";
import { Plot, type PlotOwner, type View } from "./plot.js";
import { type PageState, SPANS, readState, writeState } from "./state.js";

interface Followed {
  dots: Dots;
  /** Live dots up to here are in what the server answered. */
  sequence: number;
  loaded: boolean;
}

/** As many as one request line can name. */
const SERIES_MAX = 120;
const LAYOUT_ROWS = 500;
const REDRAW_MS_MAX = 250;
const LEGEND_MS = 250;
const TIDY_MS = 3000;

class Page implements PlotOwner {
  private state: PageState = readState(location.hash);
  private readonly followed = new Map<string, Followed>();
  private plots: Plot[] = [];
  private readonly grid = byId("plots");
  private readonly notice = byId("notice");
  private readonly live: Live;
  private readonly list: SeriesList;
  private readonly badge = new LossBadge();
  /** The server's clock minus this machine's, in seconds. */
  private clockOffset = 0;
  private link: Link = "connecting";
  private hasStore = true;
  private lastDots = 0;
  private dirty = true;
  private drawnAt = 0;
  private drawnUntil = 0;
  private legendAt = 0;
  private tidiedAt = 0;
  private loading: AbortController | null = null;
  private layoutTimer = 0;
  private readonly inSight = new Set<Element>();
  private readonly sight = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) this.inSight.add(target);
      else this.inSight.delete(target);
    }
    this.dirty = true;
  });

  constructor() {
    this.live = new Live({
      link: (link) => this.linked(link),
      hello: (now) => this.setClock(now),
      dots: (news, sequence) => this.take(news, sequence),
      gap: () => void this.load(),
      series: () => {
        this.list.grown();
        this.chooseLater(this.plots.length ? 1500 : 100);
      },
      loss: (loss) => {
        this.badge.add(loss);
        this.dirty = true;
      },
    });
    this.list = new SeriesList({ isShown: (name) => this.isShown(name), toggle: (name) => this.toggle(name) });
    this.controls();
    window.addEventListener("hashchange", () => {
      this.state = readState(location.hash);
      this.apply();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      forgetColours();
      this.plots.forEach((plot) => plot.repaint());
      this.dirty = true;
    });
    document.addEventListener("visibilitychange", () => (this.dirty = true));
    this.apply();
    const frame = (): void => {
      this.frame();
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
    window.setInterval(() => this.showStatus(), 500);
  }

  // What a plot asks of the page.

  dotsOf(name: string): Dots {
    return this.series(name).dots;
  }

  zoom(from: number, until: number): void {
    this.state.fixed = { from, until };
    this.moved();
  }

  followClock(): void {
    this.state.fixed = null;
    this.moved();
  }

  removeSeries(plot: Plot, name: string): void {
    this.ownPlots();
    plot.state.series = plot.state.series.filter((other) => other !== name);
    if (plot.state.series.length === 0) this.removePlot(plot);
    else {
      plot.update();
      this.changed();
    }
  }

  removePlot(plot: Plot): void {
    this.ownPlots();
    this.state.plots = this.state.plots!.filter((state) => state !== plot.state);
    this.changed();
  }

  losses(): readonly Loss[] {
    return this.badge.recent();
  }

  // What is shown.

  private isShown(name: string): boolean {
    return this.plots.some((plot) => plot.state.series.includes(name));
  }

  private toggle(name: string): void {
    this.ownPlots();
    const plots = this.state.plots!;
    const holder = this.plots.find((plot) => plot.state.series.includes(name));
    if (holder) {
      this.removeSeries(holder, name);
      return;
    }
    if (this.names().length >= SERIES_MAX) {
      this.tell(`No more than ${SERIES_MAX} series are drawn at once; remove some first.`);
      return;
    }
    const { parent } = split(name);
    const family = plots.find((plot) => plot.title === parent && parent !== "" && plot.series.length < LINES_PER_PLOT);
    if (family) {
      family.series = [...family.series, name].sort(compareNames);
    } else {
      plots.push({ title: parent || name, series: [name] });
    }
    this.changed();
    const shown = this.plots.find((plot) => plot.state.series.includes(name));
    shown?.root.scrollIntoView({ block: "nearest", behavior: "smooth" });
  }

  /** From now on the plots are the reader's own choice. */
  private ownPlots(): void {
    this.state.plots ??= this.plots.map((plot) => plot.state);
  }

  private series(name: string): Followed {
    let found = this.followed.get(name);
    if (!found) {
      found = { dots: new Dots(), sequence: -1, loaded: false };
      this.followed.set(name, found);
    }
    return found;
  }

  private names(): string[] {
    return [...new Set(this.plots.flatMap((plot) => plot.state.series))];
  }

  /** The reader changed which series are shown. */
  private changed(): void {
    history.replaceState(null, "", writeState(this.state) || location.pathname + location.search);
    this.build(this.state.plots ?? []);
  }

  /** The reader changed the window. */
  private moved(): void {
    history.replaceState(null, "", writeState(this.state) || location.pathname + location.search);
    this.showControls();
    this.dirty = true;
    void this.load();
  }

  /** Takes up a state, as on the first visit or after a link was followed. */
  private apply(): void {
    this.showControls();
    if (this.state.plots) this.build(this.state.plots, true);
    else void this.choose();
  }

  private chooseLater(wait: number): void {
    if (this.state.plots) return;
    window.clearTimeout(this.layoutTimer);
    this.layoutTimer = window.setTimeout(() => void this.choose(), wait);
  }

  private async choose(): Promise<void> {
    try {
      const page = await seriesPage("", "rate", 0, LAYOUT_ROWS);
      if (this.state.plots) return;
      this.tell("");
      this.hasStore = true;
      this.welcome(page.series.length > 0 ? null : ["No dots yet", "As soon as something is published, it is drawn here."]);
      const plots = chooseLayout(page.series);
      if (plots.length === 0) {
        this.live.follow([], null);
        this.chooseLater(2000);
        return;
      }
      this.build(plots);
    } catch (error) {
      this.hasStore = !(error instanceof Waiting);
      if (!this.hasStore) this.welcome(["Waiting for a store", reason(error)]);
      else this.tell(reason(error), true);
      this.live.follow([], null);
      this.chooseLater(1000);
    }
  }

  private welcome(words: readonly [title: string, text: string] | null): void {
    byId("welcome").hidden = words === null;
    setText(byId("welcome-title"), words?.[0] ?? "");
    setText(byId("welcome-text"), words?.[1] ?? "");
    byId("welcome-hint").hidden = !this.hasStore;
  }

  private build(states: PageState["plots"] & object, reload = false): void {
    this.tell("");
    if (states.length) this.welcome(null);
    const before = this.plots;
    // A plot that stays keeps its card; one that was chosen anew takes over the card of its title.
    const free = before.filter((plot) => !states.includes(plot.state));
    this.plots = states.map((state) => {
      let plot = before.find((other) => other.state === state);
      if (!plot) {
        const at = free.findIndex((other) => other.state.title === state.title);
        plot = at < 0 ? new Plot(state, this) : free.splice(at, 1)[0]!;
      }
      plot.show(state);
      return plot;
    });
    for (const plot of before) {
      if (this.plots.includes(plot)) continue;
      this.sight.unobserve(plot.root);
      this.inSight.delete(plot.root);
      plot.destroy();
    }
    this.plots.forEach((plot, index) => {
      if (this.grid.children[index] !== plot.root) this.grid.insertBefore(plot.root, this.grid.children[index] ?? null);
      this.sight.observe(plot.root);
    });
    this.grid.classList.toggle("alone", this.plots.length === 1);
    this.grid.classList.toggle("few", this.plots.length === 2);
    const names = new Set(this.names());
    for (const name of this.followed.keys()) if (!names.has(name)) this.followed.delete(name);
    this.list.update();
    this.dirty = true;
    // All of them, drawn yet or not: what load() brings is for those that are followed.
    const followed = [...names].map((name) => this.series(name));
    if (reload || followed.some(({ loaded }) => !loaded)) void this.load();
    else this.live.follow(this.names(), null);
  }

  // Dots.

  private view(): View {
    if (this.state.fixed) return this.state.fixed;
    const until = this.now();
    return { from: until - this.state.span, until };
  }

  private now(): number {
    return Date.now() / 1000 + this.clockOffset;
  }

  private setClock(now: number): void {
    const offset = now - Date.now() / 1000;
    // Two clocks on one machine are one clock; a jump of the axis for a millisecond is not worth it.
    if (Math.abs(offset - this.clockOffset) > 0.05) this.clockOffset = offset;
  }

  /** Asks for what the window shows, then follows from there. */
  private async load(): Promise<void> {
    const names = this.names();
    if (names.length === 0) {
      this.live.follow([], null);
      return;
    }
    this.loading?.abort();
    const loading = new AbortController();
    this.loading = loading;
    const { from, until } = this.view();
    const columns = Math.max(200, ...this.plots.map((plot) => plot.columns));
    try {
      const margin = (until - from) * 0.02;
      const fixed = this.state.fixed;
      const answer = await askDots(names, from - margin, fixed ? until + margin : null, columns, loading.signal);
      this.setClock(answer.now);
      for (const { name, gap, dots } of answer.series) {
        const followed = this.followed.get(name);
        if (!followed) continue;
        followed.dots.replace(dots, gap);
        followed.sequence = answer.sequence;
        followed.loaded = true;
        const last = dots.at(-1)?.[0];
        if (last !== undefined) this.lastDots = Math.max(this.lastDots, last);
      }
      this.live.follow(names, answer.sequence);
      this.tell("");
    } catch (error) {
      if (loading.signal.aborted) return;
      this.tell(reason(error), true);
      window.setTimeout(() => {
        if (this.loading === loading) void this.load();
      }, 2000);
      this.live.follow(names, null);
    }
    this.dirty = true;
  }

  private take(news: Record<string, Pair[]>, sequence: number): void {
    for (const [name, pairs] of Object.entries(news)) {
      const followed = this.followed.get(name);
      const last = pairs.at(-1)?.[0];
      if (last !== undefined) this.lastDots = Math.max(this.lastDots, last);
      // A window that stands still gets no new dots: it is asked for anew when it moves on.
      if (!followed || sequence <= followed.sequence || this.state.fixed) continue;
      for (const [time, value] of pairs) followed.dots.add(time, value);
      this.dirty = true;
    }
  }

  // Drawing.

  private frame(): void {
    if (document.hidden || this.plots.length === 0) return;
    const now = performance.now();
    const view = this.view();
    const columns = this.plots[0]!.columns;
    const column = (view.until - view.from) / columns;
    // A quarter of a pixel is as little as an eye sees; what stands still is drawn when something changed.
    const wait = Math.min(REDRAW_MS_MAX, column * 250);
    const moves = !this.state.fixed && view.until > this.drawnUntil;
    if (!(this.dirty || moves) || now - this.drawnAt < wait) return;
    this.dirty = false;
    this.drawnAt = now;
    this.drawnUntil = view.until;
    if (now - this.tidiedAt > TIDY_MS) {
      this.tidiedAt = now;
      for (const { dots } of this.followed.values()) dots.tidy(view.from, column, columns * 8);
    }
    const legends = now - this.legendAt > LEGEND_MS;
    if (legends) this.legendAt = now;
    for (const plot of this.plots) {
      if (!this.inSight.has(plot.root)) continue;
      plot.draw(view);
      if (legends) plot.writeLegend();
    }
  }

  // Controls and states.

  private controls(): void {
    const ranges = byId("ranges");
    for (const [label, seconds] of SPANS) {
      const button = element("button", { "data-span": String(seconds), title: `the last ${ago(seconds)}` }, label);
      button.onclick = () => {
        this.state.span = seconds;
        this.state.fixed = null;
        this.moved();
      };
      ranges.append(button);
    }
    byId("pause").onclick = () => this.pauseOrFollow();
    byId("browse").onclick = () => document.body.classList.toggle("browsing");
    byId("shade").onclick = () => document.body.classList.remove("browsing");
    // A button that was clicked must not take the space bar away from the plots.
    document.addEventListener("pointerup", () => {
      if (document.activeElement instanceof HTMLButtonElement) document.activeElement.blur();
    });
    document.addEventListener("keydown", (event) => {
      const target = event.target as HTMLElement;
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "Escape") {
        document.body.classList.remove("browsing");
        if (target instanceof HTMLInputElement) target.blur();
        return;
      }
      if (target instanceof HTMLInputElement || target instanceof HTMLButtonElement) return;
      const span = SPANS[Number(event.key) - 1];
      if (event.key === " ") this.pauseOrFollow();
      else if (event.key === "/") {
        document.body.classList.add("browsing");
        this.list.focusSearch();
      } else if (span) {
        this.state.span = span[1];
        this.state.fixed = null;
        this.moved();
      } else return;
      event.preventDefault();
    });
  }

  private pauseOrFollow(): void {
    if (this.state.fixed) {
      this.followClock();
      return;
    }
    this.state.fixed = this.view();
    history.replaceState(null, "", writeState(this.state));
    this.showControls();
    this.dirty = true;
  }

  private showControls(): void {
    const paused = this.state.fixed !== null;
    for (const button of byId("ranges").children) {
      const chosen = !paused && Number((button as HTMLElement).dataset["span"]) === this.state.span;
      button.setAttribute("aria-pressed", String(chosen));
    }
    const pause = byId("pause");
    pause.classList.toggle("paused", paused);
    setText(byId("pause-text"), paused ? "Follow" : "Pause");
    pause.title = paused ? "Back to now (space)" : "Hold the plots still (space)";
    this.showStatus();
  }

  private linked(link: Link): void {
    this.link = link;
    this.showStatus();
  }

  private showStatus(): void {
    const status = byId("status");
    const quiet = this.now() - this.lastDots;
    let [kind, text] = ["live", "Live"];
    if (this.link === "broken") [kind, text] = ["broken", "Reconnecting…"];
    else if (this.link === "connecting") [kind, text] = ["waiting", "Connecting…"];
    else if (this.plots.length === 0) [kind, text] = ["waiting", this.hasStore ? "Waiting for dots" : "Waiting for a store"];
    else if (this.state.fixed) {
      const { from, until } = this.state.fixed;
      const today = day(until) === day(this.now());
      [kind, text] = ["held", `${today ? "" : `${day(from)} `}${timeOfDay(from)} – ${timeOfDay(until)}`];
    } else if (quiet > 10) [kind, text] = ["waiting", this.lastDots ? `No data for ${ago(quiet)}` : "No data yet"];
    status.className = kind;
    setText(byId("status-text"), text);
  }

  private tell(text: string, bad = false): void {
    this.notice.hidden = text === "";
    this.notice.classList.toggle("bad", bad);
    setText(this.notice, text);
  }
}

/** Why there was no answer. */
function reason(error: unknown): string {
  // What a browser says when nobody listens tells a reader nothing.
  if (error instanceof TypeError) return "The displayer does not answer; trying again.";
  const text = error instanceof Error ? error.message.replace(/^waiting for a store: /, "") : String(error);
  return text.charAt(0).toUpperCase() + text.slice(1);
}

new Page();
