/** The list of all series: only rows in sight exist, so a hundred thousand cost no more than twenty. */

import { type SeriesRow, seriesPage } from "./api.js";
import { byId, element, setText } from "./dom.js";
import { count, si } from "./format.js";

const ROW_PX = 30;
const PAGE_ROWS = 100;
const REFRESH_MS = 2000;
/** Browsers lay out nothing taller. */
const HEIGHT_MAX_PX = 8_000_000;

export interface ListOwner {
  isShown(name: string): boolean;
  toggle(name: string): void;
}

export class SeriesList {
  private readonly scroller = byId("series-list");
  private readonly spacer = byId("series-rows");
  private readonly search = byId<HTMLInputElement>("search");
  private readonly summary = byId("series-count");
  private readonly order = byId<HTMLButtonElement>("order");
  private sort: "name" | "rate" = "name";
  private total = 0;
  private readonly pages = new Map<number, SeriesRow[]>();
  private readonly rows = new Map<number, HTMLButtonElement>();
  private asked: AbortController | null = null;
  private generation = 0;
  private timer = 0;

  constructor(private readonly owner: ListOwner) {
    let typing = 0;
    this.search.addEventListener("input", () => {
      window.clearTimeout(typing);
      typing = window.setTimeout(() => this.restart(), 80);
    });
    this.order.onclick = () => {
      this.sort = this.sort === "name" ? "rate" : "name";
      setText(this.order, this.sort === "name" ? "A–Z" : "Busiest");
      this.restart();
    };
    this.scroller.addEventListener("scroll", () => this.show(), { passive: true });
    this.scroller.addEventListener("keydown", (event) => this.key(event));
    this.search.addEventListener("keydown", (event) => {
      if (event.key === "ArrowDown") {
        event.preventDefault();
        this.rows.get(this.first())?.focus();
      }
    });
    new ResizeObserver(() => this.show()).observe(this.scroller);
    window.setInterval(() => void this.refresh(), REFRESH_MS);
    this.restart();
  }

  /** What is shown in plots, or which series there are, has changed. */
  update(): void {
    for (const [index, row] of this.rows) this.fill(row, this.at(index));
  }

  /** More series exist than before. */
  grown(): void {
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(() => void this.refresh(true), 200);
  }

  focusSearch(): void {
    this.search.focus();
    this.search.select();
  }

  private restart(): void {
    this.generation++;
    this.pages.clear();
    this.scroller.scrollTop = 0;
    void this.load(0);
  }

  private async refresh(hidden = false): Promise<void> {
    if (document.hidden || (!hidden && this.scroller.clientHeight === 0)) return;
    const first = Math.floor(this.first() / PAGE_ROWS);
    await this.load(first);
  }

  private async load(page: number): Promise<void> {
    const generation = this.generation;
    this.asked?.abort();
    const asked = new AbortController();
    this.asked = asked;
    try {
      const answer = await seriesPage(this.search.value.trim(), this.sort, page * PAGE_ROWS, PAGE_ROWS, asked.signal);
      if (generation !== this.generation) return;
      this.total = answer.total;
      this.pages.set(page, answer.series);
      const searching = this.search.value.trim() !== "";
      setText(this.summary, searching ? `${count(answer.total)} of ${count(answer.all)}` : `${count(answer.all)} series`);
      this.show();
    } catch (error) {
      // The next refresh tries again; the connection state says what is wrong.
      if (!(error instanceof DOMException)) console.debug(error);
    }
  }

  private first(): number {
    const scale = this.scale();
    return Math.max(0, Math.floor((this.scroller.scrollTop * scale) / ROW_PX));
  }

  /** More than one where the list is taller than a browser can lay out. */
  private scale(): number {
    return Math.max(1, (this.total * ROW_PX) / HEIGHT_MAX_PX);
  }

  private at(index: number): SeriesRow | undefined {
    return this.pages.get(Math.floor(index / PAGE_ROWS))?.[index % PAGE_ROWS];
  }

  private show(): void {
    this.spacer.style.height = `${Math.min(this.total * ROW_PX, HEIGHT_MAX_PX)}px`;
    const scale = this.scale();
    const first = Math.max(0, this.first() - 4);
    const last = Math.min(this.total, first + Math.ceil(this.scroller.clientHeight / ROW_PX) + 9);
    for (const [index, row] of this.rows) {
      if (index >= first && index < last) continue;
      row.remove();
      this.rows.delete(index);
    }
    const top = this.scroller.scrollTop;
    for (let index = first; index < last; index++) {
      let row = this.rows.get(index);
      if (!row) {
        row = element("button", { class: "series-row" }, element("span", { class: "mark" }), element("span", { class: "name" }), element("span", { class: "number" }));
        this.rows.set(index, row);
        this.spacer.append(row);
      }
      row.style.transform = `translateY(${Math.round(scale === 1 ? index * ROW_PX : top + index * ROW_PX - top * scale)}px)`;
      this.fill(row, this.at(index));
    }
    for (const page of [Math.floor(first / PAGE_ROWS), Math.floor(Math.max(first, last - 1) / PAGE_ROWS)]) {
      if (this.total > 0 && !this.pages.has(page)) {
        void this.load(page);
        return;
      }
    }
  }

  private fill(row: HTMLButtonElement, series: SeriesRow | undefined): void {
    const [, name, value] = row.children as unknown as HTMLElement[];
    if (!series) {
      setText(name!, "…");
      setText(value!, "");
      return;
    }
    const shown = this.owner.isShown(series.name);
    row.classList.toggle("shown", shown);
    row.setAttribute("aria-pressed", String(shown));
    if (row.dataset["name"] !== series.name) {
      row.dataset["name"] = series.name;
      row.title = series.name;
      row.onclick = () => this.owner.toggle(series.name);
      const path = series.name.split(";", 1)[0]!;
      const dot = path.lastIndexOf(".") + 1;
      name!.replaceChildren(
        element("span", { class: "front" }, element("bdi", {}, series.name.slice(0, dot))),
        element("span", { class: "end" }, series.name.slice(dot)),
      );
    }
    setText(value!, series.value === null ? "" : si(series.value));
    value!.classList.toggle("active", series.rate > 0);
  }

  private key(event: KeyboardEvent): void {
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (step === 0) return;
    event.preventDefault();
    const index = [...this.rows].find(([, row]) => row === document.activeElement)?.[0];
    if (index === undefined) return;
    const next = index + step;
    if (next < 0) {
      this.search.focus();
      return;
    }
    const top = next * ROW_PX;
    const { scrollTop, clientHeight } = this.scroller;
    if (top < scrollTop) this.scroller.scrollTop = top;
    else if (top + ROW_PX > scrollTop + clientHeight) this.scroller.scrollTop = top + ROW_PX - clientHeight;
    this.show();
    this.rows.get(next)?.focus();
  }
}
