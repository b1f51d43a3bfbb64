/** The live stream: one connection, resumed where it broke off. */

import type { Loss, Pair } from "./api.js";

export type Link = "connecting" | "open" | "broken";

export interface Listener {
  link(state: Link): void;
  hello(now: number): void;
  dots(news: Record<string, Pair[]>, sequence: number): void;
  /** Something was missed: from when on to ask again; null for all of it. */
  gap(from: number | null): void;
  series(total: number): void;
  loss(loss: Loss): void;
}

const RETRY_MS = [500, 1000, 2000, 5000];
/** More dots than this a series and event come as an envelope: no screen shows more. */
const DOTS_PER_EVENT = 64;

export class Live {
  private source: EventSource | null = null;
  private names: readonly string[] = [];
  private sequence: string | null = null;
  private retries = 0;
  private timer = 0;

  constructor(private readonly listener: Listener) {
    // A browser holds six connections to one server; a page nobody sees gives its own back.
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) this.close();
      else if (!this.source) this.open();
    });
  }

  /** Follows these series from now on, and from `sequence` on where the page has not followed before. */
  follow(names: readonly string[], sequence: number | null): void {
    const wanted = [...new Set(names)].sort();
    const same = wanted.length === this.names.length && wanted.every((name, at) => name === this.names[at]);
    if (same && this.source) return;
    this.names = wanted;
    if (sequence !== null) this.sequence = String(sequence);
    this.close();
    if (!document.hidden) this.open();
  }

  private open(): void {
    const parameters = new URLSearchParams({ max: String(DOTS_PER_EVENT) });
    if (this.sequence !== null) parameters.set("after", this.sequence);
    for (const name of this.names) parameters.append("series", name);
    const source = new EventSource(`/live?${parameters}`);
    this.source = source;
    this.listener.link("connecting");
    const on = <T>(event: string, take: (data: T) => void): void => {
      source.addEventListener(event, (message: MessageEvent<string>) => {
        if (message.lastEventId) this.sequence = message.lastEventId;
        take(JSON.parse(message.data) as T);
      });
    };
    source.onopen = () => {
      this.retries = 0;
      this.listener.link("open");
    };
    source.onerror = () => {
      this.listener.link("broken");
      if (source.readyState !== EventSource.CLOSED || this.source !== source) return;
      // The server said no (it restarts, or is full): the browser gives up, the page does not.
      this.close();
      const wait = RETRY_MS[Math.min(this.retries++, RETRY_MS.length - 1)]!;
      this.timer = window.setTimeout(() => this.open(), wait);
    };
    on<{ now: number }>("hello", ({ now }) => this.listener.hello(now));
    on<Record<string, Pair[]>>("dots", (news) => this.listener.dots(news, Number(this.sequence)));
    on<{ from?: number | null }>("gap", ({ from }) => this.listener.gap(from ?? null));
    on<{ total: number }>("series", ({ total }) => this.listener.series(total));
    on<Loss>("loss", (loss) => this.listener.loss(loss));
  }

  private close(): void {
    window.clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
  }
}
