/** Colours of what is drawn on a canvas. They stand in the style sheet, once for light and once for dark. */

/** How many lines have a colour of their own. */
export const COLOURS = 8;

interface Palette {
  lines: string[];
  grid: string;
  axis: string;
  faint: string;
  loss: string;
}

let palette: Palette | null = null;

export function colours(): Palette {
  if (palette) return palette;
  const style = getComputedStyle(document.documentElement);
  const colour = (name: string): string => style.getPropertyValue(name).trim();
  palette = {
    lines: Array.from({ length: COLOURS }, (_, index) => colour(`--line-${index}`)),
    grid: colour("--grid"),
    axis: colour("--axis"),
    faint: colour("--faint"),
    loss: colour("--loss-band"),
  };
  return palette;
}

/** The system's theme has changed. */
export function forgetColours(): void {
  palette = null;
}
