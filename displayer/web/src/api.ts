/** What the server answers, and how it is asked. */

export type Pair = [seconds: number, value: number | null];

/** One row of `/api/series`. */
export interface SeriesRow {
  name: string;
  /** Newest dot; null where nothing is known yet. */
  time: number | null;
  value: number | null;
  /** Dots a second, lately. */
  rate: number;
}

export interface SeriesPage {
  /** Series that the search met, and series there are. */
  total: number;
  all: number;
  series: SeriesRow[];
}

/** One series of `/dots`. */
export interface History {
  name: string;
  /** From which distance on dots are not joined, in seconds; null where too few tell. */
  gap: number | null;
  /** Whether no dot was left out. */
  exact: boolean;
  dots: Pair[];
}

export interface DotsAnswer {
  now: number;
  from: number;
  until: number;
  /** Position in the store's log: the live stream continues after it. */
  sequence: number;
  series: History[];
}

export interface Loss {
  application: string;
  reason: string;
  lost: number;
  from: number | null;
  until: number | null;
}

export interface Tally {
  count: number;
  from: number | null;
  until: number | null;
}

export interface Application {
  application: string;
  rings: number;
  stored: number;
  lost: Record<string, Tally>;
  refused: Record<string, number>;
}

export interface Losses {
  lost: number;
  refused: number;
  applications: Application[];
  recent: Loss[];
}

/** There is no store to read yet. */
export class Waiting extends Error {}

async function ask<T>(path: string, parameters: URLSearchParams, signal?: AbortSignal): Promise<T> {
  // A long list of names does not fit into a request line.
  const query = parameters.toString();
  const long = query.length > 6000;
  const response = await fetch(long || !query ? path : `${path}?${query}`, {
    ...(long ? { method: "POST", body: parameters } : {}),
    ...(signal ? { signal } : {}),
    cache: "no-store",
  });
  if (!response.ok) {
    const why = (await response.text()).trim() || `status ${response.status}`;
    throw response.status === 503 ? new Waiting(why) : new Error(why);
  }
  return (await response.json()) as T;
}

export function seriesPage(
  search: string,
  sort: "name" | "rate",
  offset: number,
  limit: number,
  signal?: AbortSignal,
): Promise<SeriesPage> {
  const parameters = new URLSearchParams({ sort, offset: String(offset), limit: String(limit) });
  if (search) parameters.set("q", search);
  return ask("/api/series", parameters, signal);
}

export function dots(
  names: readonly string[],
  from: number,
  until: number | null,
  columns: number,
  signal?: AbortSignal,
): Promise<DotsAnswer> {
  const parameters = new URLSearchParams({ from: from.toFixed(3), max: String(columns) });
  if (until !== null) parameters.set("until", until.toFixed(3));
  for (const name of names) parameters.append("series", name);
  return ask("/dots", parameters, signal);
}

export const losses = (): Promise<Losses> => ask("/api/losses", new URLSearchParams());
