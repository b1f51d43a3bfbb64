/** Counted losses: a badge with the total, and behind it a table of what was lost, whose, and why. */

import { type Loss, type Losses, losses } from "./api.js";
import { byId, element, setText } from "./dom.js";
import { count, day, timeOfDay } from "./format.js";

const REFRESH_MS = 10_000;
const RECENT_MAX = 500;

/** What a reason means to someone who has not read the manual. */
const WORDS: Record<string, string> = {
  lapped: "overwritten in the ring before the broker came by",
  "spool-full": "dropped from a full spool",
  damage: "in bytes that were damaged",
  "file-deleted": "in a ring file deleted under a running broker",
  quota: "in a ring file removed because dead rings were over quota",
  "store-went-back": "in a store that went back to an earlier state",
  "before-store": "published before this store existed",
  "series-limit": "over the limit of series",
  name: "under a name that is none",
  "too-big": "too big",
  "signal-handler": "published from inside a signal handler",
  "registry-full": "no room left for the series in the ring",
  other: "for another reason",
};

export class LossBadge {
  private readonly badge = byId<HTMLButtonElement>("losses");
  private readonly panel = byId("losses-panel");
  private latest: Losses | null = null;
  private spans: Loss[] = [];
  private timer = 0;

  constructor() {
    this.badge.onclick = () => this.toggle();
    document.addEventListener("click", (event) => {
      const target = event.target as Node;
      if (!this.panel.hidden && !this.panel.contains(target) && !this.badge.contains(target)) this.toggle();
    });
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !this.panel.hidden) this.toggle();
    });
    window.setInterval(() => void this.refresh(), REFRESH_MS);
    void this.refresh();
  }

  /** Losses with times, to be drawn. */
  recent(): readonly Loss[] {
    return this.spans;
  }

  /** One more was counted just now. */
  add(loss: Loss): void {
    this.spans.push(loss);
    if (this.spans.length > RECENT_MAX) this.spans.shift();
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(() => void this.refresh(), 300);
  }

  async refresh(): Promise<void> {
    if (document.hidden) return;
    try {
      this.latest = await losses();
    } catch {
      // The connection state says what is wrong; the next refresh tries again.
      return;
    }
    this.spans = this.latest.recent;
    this.show();
  }

  private toggle(): void {
    this.panel.hidden = !this.panel.hidden;
    this.badge.setAttribute("aria-expanded", String(!this.panel.hidden));
    this.show();
  }

  private show(): void {
    if (!this.latest) return;
    const { lost, refused } = this.latest;
    this.badge.hidden = false;
    this.badge.classList.toggle("bad", lost > 0);
    this.badge.classList.toggle("warn", lost === 0 && refused > 0);
    const parts = [`${count(lost)} lost`];
    if (refused > 0) parts.push(`${count(refused)} refused`);
    setText(this.badge, lost + refused === 0 ? "0 lost" : parts.join(" · "));
    if (!this.panel.hidden) this.table();
  }

  private table(): void {
    const latest = this.latest!;
    const rows: HTMLElement[] = [];
    const row = (kind: string, reason: string, number: number, when: string): HTMLElement =>
      element(
        "div",
        { class: `loss-row ${kind}` },
        element("span", { class: "number" }, count(number)),
        element("span", {}, `${kind} `, element("b", {}, reason)),
        element("small", {}, [WORDS[reason] ?? "", when].filter(Boolean).join("; ")),
      );
    for (const application of latest.applications) {
      const lost = Object.entries(application.lost);
      const refused = Object.entries(application.refused);
      rows.push(
        element(
          "div",
          { class: "loss-head" },
          element("b", {}, application.application),
          element("span", { class: "faint" }, `${count(application.stored)} dots stored`),
        ),
      );
      if (lost.length + refused.length === 0) rows.push(element("div", { class: "loss-row faint" }, "nothing lost"));
      for (const [reason, tally] of lost) rows.push(row("lost", reason, tally.count, times(tally.from, tally.until)));
      for (const [reason, number] of refused) rows.push(row("refused", reason, number, ""));
    }
    if (rows.length === 0) rows.push(element("p", { class: "faint" }, "No application has published through a ring yet."));
    this.panel.replaceChildren(element("h2", {}, "Counted losses"), ...rows);
  }
}

function times(from: number | null, until: number | null): string {
  if (from === null || until === null) return "";
  const moment = (seconds: number): string => `${day(seconds)} ${timeOfDay(seconds)}`;
  return Math.floor(from) === Math.floor(until) ? moment(from) : `${moment(from)} to ${moment(until)}`;
}
