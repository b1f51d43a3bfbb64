/** Lines on a canvas. */

import type { Dots } from "./dots.js";

/** A rectangle of the canvas and what its edges stand for. */
export interface Surface {
  left: number;
  top: number;
  width: number;
  height: number;
  from: number;
  until: number;
  low: number;
  high: number;
}

/** Where things go, and from which distance on dots are not joined. */
interface Places {
  x(time: number): number;
  y(value: number): number;
  apart: number;
}

const LINE_PX = 1.5;
const POINT_PX = 1.8;

/** Draws the dots `start..end` in the context's colour; neighbours are joined, gaps stay gaps. */
export function paintSeries(
  ctx: CanvasRenderingContext2D,
  surface: Surface,
  dots: Dots,
  start: number,
  end: number,
): void {
  const perSecond = surface.width / (surface.until - surface.from);
  const perUnit = surface.height / (surface.high - surface.low);
  const bottom = surface.top + surface.height;
  const places: Places = {
    x: (time) => surface.left + (time - surface.from) * perSecond,
    y: (value) => bottom - (value - surface.low) * perUnit,
    // Two columns apart may be neighbours that thinning has left.
    apart: Math.max(dots.gap, 2.5 / perSecond),
  };
  if (end - start > 3 * surface.width) paintColumns(ctx, places, dots, start, end);
  else paintLine(ctx, places, dots, start, end);
}

function paintLine(ctx: CanvasRenderingContext2D, places: Places, dots: Dots, start: number, end: number): void {
  const lonely: number[] = [];
  let run = 0;
  let lastTime = -Infinity;
  let lastX = 0;
  let lastY = 0;
  ctx.lineWidth = LINE_PX * devicePixelRatio;
  ctx.lineJoin = "round";
  ctx.lineCap = "round";
  ctx.beginPath();
  for (let index = start; index < end; index++) {
    const time = dots.times[index]!;
    const value = dots.values[index]!;
    if (!Number.isFinite(value)) {
      if (run === 1) lonely.push(lastX, lastY);
      run = 0;
      continue;
    }
    const x = places.x(time);
    const y = places.y(value);
    if (run > 0 && time - lastTime <= places.apart) {
      ctx.lineTo(x, y);
      run++;
    } else {
      if (run === 1) lonely.push(lastX, lastY);
      ctx.moveTo(x, y);
      run = 1;
    }
    lastTime = time;
    lastX = x;
    lastY = y;
  }
  if (run === 1) lonely.push(lastX, lastY);
  ctx.stroke();
  for (let index = 0; index < lonely.length; index += 2) {
    ctx.beginPath();
    ctx.arc(lonely[index]!, lonely[index + 1]!, POINT_PX * devicePixelRatio, 0, 2 * Math.PI);
    ctx.fill();
  }
}

/** More dots than columns: a bar from the smallest to the largest of each is the same picture, drawn faster. */
function paintColumns(ctx: CanvasRenderingContext2D, places: Places, dots: Dots, start: number, end: number): void {
  const thick = LINE_PX * devicePixelRatio;
  let column = -1;
  let top = 0;
  let bottom = 0;
  let lastTime = -Infinity;
  let lastY = 0;
  const bar = (): void => {
    if (column >= 0) ctx.rect(column, top - thick / 2, 1, bottom - top + thick);
  };
  ctx.beginPath();
  for (let index = start; index < end; index++) {
    const time = dots.times[index]!;
    const value = dots.values[index]!;
    if (!Number.isFinite(value)) {
      lastTime = -Infinity;
      continue;
    }
    const x = Math.max(0, Math.floor(places.x(time)));
    const y = places.y(value);
    const joined = time - lastTime <= places.apart;
    if (x === column) {
      top = Math.min(top, y);
      bottom = Math.max(bottom, y);
    } else {
      bar();
      // Columns without a dot between neighbours: the line crosses them.
      for (let between = column + 1; joined && column >= 0 && between < x; between++) {
        const at = lastY + ((y - lastY) * (between - column)) / (x - column);
        ctx.rect(between, at - thick / 2, 1, thick);
      }
      top = joined ? Math.min(y, lastY) : y;
      bottom = joined ? Math.max(y, lastY) : y;
      column = x;
    }
    lastTime = time;
    lastY = y;
  }
  bar();
  // Bands that lie over each other still show all of them.
  ctx.globalAlpha = 0.8;
  ctx.fill();
  ctx.globalAlpha = 1;
}
