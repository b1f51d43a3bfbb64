/** Run by `npm test`: what the page works out, without a browser. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { SeriesRow } from "../src/api.js";
import { Dots } from "../src/dots.js";
import { si, ticksText } from "../src/format.js";
import { chooseLayout, split } from "../src/layout.js";
import { scaleTicks, valueScale } from "../src/scale.js";
import { readState, writeState } from "../src/state.js";

const row = (name: string, value = 1, rate = 1): SeriesRow => ({ name, time: 1, value, rate });

test("dots stay sorted and history takes the place of what it covers", () => {
  const dots = new Dots();
  for (const time of [5, 3, 4, 9]) dots.add(time, time);
  assert.deepEqual(dots.times, [3, 4, 5, 9]);
  dots.replace([[1, 10], [5, 50]], 2.2);
  assert.deepEqual(dots.times, [1, 5, 9]);
  assert.deepEqual(dots.values, [10, 50, 9]);
  assert.equal(dots.gap, 2.2);
  assert.equal(dots.nearest(6), 1);
  assert.equal(dots.nearest(8), 2);
});

test("thinning keeps every extreme and stays bounded however long it goes on", () => {
  const dots = new Dots();
  let spikes = 0;
  for (let n = 0; n < 200_000; n++) {
    const spike = n % 50_000 === 777;
    if (spike) spikes++;
    dots.add(n / 100, spike ? 1e6 : Math.sin(n));
    if (n % 1000 === 0) dots.tidy(0, 2, 4000);
  }
  dots.tidy(0, 2, 4000);
  assert.ok(dots.length < 6000, `${dots.length}`);
  assert.equal(dots.values.filter((value) => value === 1e6).length, spikes);
  assert.ok(dots.times.every((time, at) => at === 0 || dots.times[at - 1]! <= time));
  dots.tidy(1900, 2, 4000);
  assert.ok(dots.times[0]! >= 1890 && dots.times[0]! <= 1900);
});

test("series share a plot with their siblings, unless their values are of another size", () => {
  const plots = chooseLayout([
    row("host.a.cpu.user", 30),
    row("host.a.cpu.idle", 70),
    row("host.a.cpu.steal", 0),
    row("host.a.memory.used", 8e9),
    row("host.a.memory.percent", 42),
    row("walk", 3),
  ]);
  assert.deepEqual(plots, [
    { title: "host.a.cpu", series: ["host.a.cpu.idle", "host.a.cpu.steal", "host.a.cpu.user"] },
    { title: "host.a.memory.percent", series: ["host.a.memory.percent"] },
    { title: "host.a.memory.used", series: ["host.a.memory.used"] },
    { title: "walk", series: ["walk"] },
  ]);
});

test("many series make a handful of plots", () => {
  const rows = Array.from({ length: 64 }, (_, n) => row(`fleet.node${n}.load`, 1, n));
  const plots = chooseLayout(rows);
  assert.ok(plots.length <= 8 && plots.every((plot) => plot.series.length <= 8));
  assert.equal(plots[0]!.title, "fleet");
  assert.deepEqual(split("a.b;host=x.y"), { parent: "a", leaf: "b;host=x.y" });
});

test("of the equally busy each kind is shown before the second of any", () => {
  const machine = ["cpu", "disk.sda", "disk.sdb", "memory", "net.eth0"].flatMap((kind) =>
    ["a", "b"].map((leaf) => row(`host.m.${kind}.${leaf}`, 1, 9 + Math.random())));
  const cores = Array.from({ length: 16 }, (_, n) => ["user", "idle"].map((mode) => row(`host.m.cpu.${n}.${mode}`, 1, 10)));
  const slow = ["dotter.collector.a", "dotter.collector.b"].map((name) => row(name, 1, 0.1));
  const titles = chooseLayout([...slow, ...machine, ...cores.flat()]).map((plot) => plot.title);
  for (const title of ["host.m.cpu", "host.m.memory", "host.m.disk.sda", "host.m.net.eth0", "host.m.cpu.0"]) {
    assert.ok(titles.includes(title), `${title} among ${titles}`);
  }
  assert.equal(titles.length, 8);
});

test("the address holds the whole state", () => {
  for (const hash of ["", "#w=5m", "#w=1h&g=a.b&s=a.b.c&s=a.b.d%3Bx%3Dy&g=&s=e%26f", "#w=1m&from=10.000&until=20.500"]) {
    assert.equal(writeState(readState(hash)), hash);
  }
  assert.deepEqual(readState("#s=x").plots, [{ title: "", series: ["x"] }]);
  assert.equal(readState("#w=nonsense&from=x&until=1").fixed, null);
});

test("numbers are short and ticks are round", () => {
  const cases: [number, string][] = [[0, "0"], [1234, "1.234k"], [0.25, "0.25"], [-12.5, "−12.5"], [999.96, "1k"], [56.7e6, "56.7M"]];
  for (const [value, text] of cases) assert.equal(si(value), text);
  assert.equal(si(null), "–");
  assert.deepEqual(ticksText(scaleTicks(valueScale(3, 97, 4))), ["0", "50", "100"]);
  assert.deepEqual(ticksText(scaleTicks(valueScale(2e9, 2.1e9, 2))), ["2.00G", "2.05G", "2.10G"]);
  assert.deepEqual(ticksText(scaleTicks(valueScale(Infinity, -Infinity, 2))), ["0", "0.5", "1.0"]);
});
