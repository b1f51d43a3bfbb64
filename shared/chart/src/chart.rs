//! Where everything on a chart goes.

use std::fmt::Write as _;

use crate::scale::{ValueScale, si};
use crate::theme::Theme;
use crate::time_axis::time_ticks;
use crate::writer::{Writer, px};

/// The least width or height, in pixels.
pub const SIDE_MIN: u32 = 120;
/// The greatest width or height, in pixels.
pub const SIDE_MAX: u32 = 8_000;

/// Lines over a range of time.
#[derive(Clone, Debug)]
pub struct Chart<'a> {
    /// Width in pixels, brought between [`SIDE_MIN`] and [`SIDE_MAX`].
    pub width: u32,
    /// Height in pixels, legend included, brought between the same.
    pub height: u32,
    /// Written above, unless empty.
    pub title: &'a str,
    /// Seconds since 1970 at the left and the right edge.
    pub range: (f64, f64),
    /// Seconds east of UTC of the clock on the time axis.
    pub offset: i64,
    /// What to draw; the first lies on top.
    pub lines: Vec<Line<'a>>,
    /// Light or dark.
    pub theme: Theme,
}

/// One series.
#[derive(Clone, Debug)]
pub struct Line<'a> {
    /// Written in the legend.
    pub name: &'a str,
    /// (seconds since 1970, value), sorted by time. A value that is no finite number breaks the line.
    pub dots: Vec<(f64, f64)>,
    /// Dots further apart than this, in seconds, are not joined.
    pub gap: f64,
}

const FONT: &str = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif";
const LEGEND_ROW: f64 = 18.0;
/// About how wide a character of the small text is.
const CHARACTER: f64 = 6.1;

/// The rectangle the lines are drawn in.
struct Plot {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    range: (f64, f64),
    scale: ValueScale,
}

impl Chart<'_> {
    /// The whole SVG document.
    pub fn svg(&self) -> String {
        let width = f64::from(self.width.clamp(SIDE_MIN, SIDE_MAX));
        let height = f64::from(self.height.clamp(SIDE_MIN, SIDE_MAX));
        let theme = self.theme;
        let mut out = Writer::default();
        let (w, h) = (px(width), px(height));
        out.open(
            "svg",
            &[
                ("xmlns", "http://www.w3.org/2000/svg"),
                ("width", &w),
                ("height", &h),
                ("viewBox", &format!("0 0 {w} {h}")),
                ("font-family", FONT),
                ("font-size", "11"),
                ("role", "img"),
            ],
        );
        out.text("title", &[], if self.title.is_empty() { "chart" } else { self.title });
        out.empty("rect", &[("width", &w), ("height", &h), ("fill", theme.ground())]);

        let rows = self.legend_rows(height);
        let top = if self.title.is_empty() { 14.0 } else { 34.0 };
        let bottom = height - if rows > 0 { 34.0 } else { 26.0 } - rows as f64 * LEGEND_ROW;
        let in_range = |t: f64| t >= self.range.0 && t <= self.range.1;
        let values =
            self.lines.iter().flat_map(|line| &line.dots).filter(|(t, _)| in_range(*t)).map(|(_, v)| *v);
        let scale = ValueScale::new(values, ((bottom - top) / 44.0).clamp(1.0, 12.0) as u32);
        let ticks = scale.ticks();
        let widest = ticks.iter().map(|(_, text)| text.chars().count()).max().unwrap_or(1);
        let left = 18.0 + widest as f64 * CHARACTER;
        let plot = Plot { left, right: width - 14.0, top, bottom, range: self.range, scale };

        if !self.title.is_empty() {
            let room = ((width - 28.0) / 7.2) as usize;
            out.text(
                "text",
                &[
                    ("x", "14"),
                    ("y", "21"),
                    ("font-size", "13"),
                    ("font-weight", "600"),
                    ("fill", theme.ink()),
                ],
                &shorten(self.title, room),
            );
        }
        self.axes(&plot, &ticks, &mut out);
        self.lines(&plot, &mut out);
        self.legend(rows, width, height, &mut out);
        out.close("svg");
        out.finish()
    }

    fn axes(&self, plot: &Plot, ticks: &[(f64, String)], out: &mut Writer) {
        let (left, right) = (px(plot.left), px(plot.right));
        let theme = self.theme;
        for (index, (value, text)) in ticks.iter().enumerate() {
            let y = plot.y(*value).round() + 0.5;
            let colour = if index == 0 { theme.axis() } else { theme.grid() };
            let y_text = px(y);
            out.empty(
                "line",
                &[("x1", &left), ("x2", &right), ("y1", &y_text), ("y2", &y_text), ("stroke", colour)],
            );
            out.text(
                "text",
                &[
                    ("x", &px(plot.left - 7.0)),
                    ("y", &px(y + 3.5)),
                    ("text-anchor", "end"),
                    ("fill", theme.faint_ink()),
                ],
                text,
            );
        }
        let room = ((plot.right - plot.left) / 74.0).clamp(1.0, 40.0) as u32;
        let y = px(plot.bottom + 17.0);
        for tick in time_ticks(self.range.0, self.range.1, self.offset, room) {
            let x = plot.x(tick.seconds);
            let half = tick.text.chars().count() as f64 * CHARACTER / 2.0;
            // A label that would stick out is left out; its neighbours tell the time well enough.
            if x - half < 4.0 || x + half > plot.right + 12.0 {
                continue;
            }
            let x_text = px(x.round() + 0.5);
            out.empty(
                "line",
                &[
                    ("x1", &x_text),
                    ("x2", &x_text),
                    ("y1", &px(plot.bottom)),
                    ("y2", &px(plot.bottom + 4.0)),
                    ("stroke", theme.axis()),
                ],
            );
            out.text(
                "text",
                &[("x", &px(x)), ("y", &y), ("text-anchor", "middle"), ("fill", theme.faint_ink())],
                &tick.text,
            );
        }
    }

    fn lines(&self, plot: &Plot, out: &mut Writer) {
        let mut empty = true;
        for (index, line) in self.lines.iter().enumerate().rev() {
            let colour = self.theme.line(index);
            let (path, lonely) = plot.path(line);
            if !path.is_empty() {
                empty = false;
                out.empty(
                    "path",
                    &[
                        ("d", &path),
                        ("fill", "none"),
                        ("stroke", colour),
                        ("stroke-width", "1.5"),
                        ("stroke-linejoin", "round"),
                        ("stroke-linecap", "round"),
                    ],
                );
            }
            for (x, y) in lonely {
                empty = false;
                out.empty("circle", &[("cx", &px(x)), ("cy", &px(y)), ("r", "1.8"), ("fill", colour)]);
            }
        }
        if empty {
            out.text(
                "text",
                &[
                    ("x", &px((plot.left + plot.right) / 2.0)),
                    ("y", &px((plot.top + plot.bottom) / 2.0)),
                    ("text-anchor", "middle"),
                    ("font-size", "12"),
                    ("fill", self.theme.faint_ink()),
                ],
                if self.lines.is_empty() { "no such series" } else { "no dots in this range" },
            );
        }
    }

    /// At most a third of the height.
    fn legend_rows(&self, height: f64) -> usize {
        self.lines.len().min((height / 3.0 / LEGEND_ROW) as usize)
    }

    fn legend(&self, rows: usize, width: f64, height: f64, out: &mut Writer) {
        let top = height - rows as f64 * LEGEND_ROW + 7.0;
        let room = ((width - 130.0) / CHARACTER).max(4.0) as usize;
        for (index, line) in self.lines.iter().take(rows).enumerate() {
            let y = top + index as f64 * LEGEND_ROW;
            let hidden = self.lines.len() - rows;
            if index + 1 == rows && hidden > 0 {
                let text = format!("and {} more", hidden + 1);
                let attributes = [("x", "30"), ("y", &px(y)), ("fill", self.theme.faint_ink())];
                out.text("text", &attributes, &text);
                return;
            }
            let swatch = [
                ("x", "14"),
                ("y", &px(y - 6.0)),
                ("width", "10"),
                ("height", "3"),
                ("rx", "1.5"),
                ("fill", self.theme.line(index)),
            ];
            out.empty("rect", &swatch);
            let name = [("x", "30"), ("y", &px(y)), ("fill", self.theme.ink())];
            out.text("text", &name, &shorten(line.name, room));
            let last = line.dots.iter().rev().map(|(_, value)| *value).find(|value| value.is_finite());
            let value = [
                ("x", &*px(width - 14.0)),
                ("y", &*px(y)),
                ("text-anchor", "end"),
                ("font-variant-numeric", "tabular-nums"),
                ("fill", self.theme.ink()),
            ];
            out.text("text", &value, &last.map_or_else(|| "–".to_owned(), si));
        }
    }
}

impl Plot {
    fn x(&self, seconds: f64) -> f64 {
        let (from, until) = self.range;
        self.left + (seconds - from) / (until - from).max(1e-9) * (self.right - self.left)
    }

    fn y(&self, value: f64) -> f64 {
        let share = (value - self.scale.low) / (self.scale.high - self.scale.low);
        self.bottom - share.clamp(0.0, 1.0) * (self.bottom - self.top)
    }

    /// A path through dots that are neighbours, and those that have none.
    fn path(&self, line: &Line<'_>) -> (String, Vec<(f64, f64)>) {
        let mut path = String::new();
        let mut lonely = Vec::new();
        // The run of neighbours that is being drawn: its first point, how many, and when the last was.
        let mut run: Option<((f64, f64), usize, f64)> = None;
        for &(t, value) in &line.dots {
            if !value.is_finite() || t < self.range.0 || t > self.range.1 {
                lonely.extend(run.take().filter(|(_, count, _)| *count == 1).map(|(first, _, _)| first));
                continue;
            }
            let point = (self.x(t), self.y(value));
            run = match run {
                Some((first, count, last)) if t - last <= line.gap => {
                    if count == 1 {
                        let _ = write!(path, "M{} {}", px(first.0), px(first.1));
                    }
                    let _ = write!(path, "L{} {}", px(point.0), px(point.1));
                    Some((first, count + 1, t))
                }
                other => {
                    lonely.extend(other.filter(|(_, count, _)| *count == 1).map(|(first, _, _)| first));
                    Some((point, 1, t))
                }
            };
        }
        lonely.extend(run.filter(|(_, count, _)| *count == 1).map(|(first, _, _)| first));
        (path, lonely)
    }
}

/// Both ends of a name matter: what is cut out is its middle.
fn shorten(name: &str, characters_max: usize) -> String {
    let count = name.chars().count();
    if count <= characters_max {
        return name.to_owned();
    }
    let keep = characters_max.saturating_sub(1);
    let head: String = name.chars().take(keep / 2).collect();
    let tail: String = name.chars().skip(count - (keep - keep / 2)).collect();
    format!("{head}…{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: f64 = 1_710_504_000.0;

    fn chart<'a>(lines: Vec<Line<'a>>) -> Chart<'a> {
        Chart {
            width: 600,
            height: 300,
            title: "a <title>",
            range: (NOON, NOON + 60.0),
            offset: 0,
            lines,
            theme: Theme::Light,
        }
    }

    fn line<'a>(name: &'a str, dots: &[(f64, f64)]) -> Line<'a> {
        Line { name, dots: dots.iter().map(|(t, v)| (NOON + t, *v)).collect(), gap: 2.2 }
    }

    #[test]
    fn a_gap_is_a_gap_and_a_lonely_dot_is_a_point() {
        let dots = [(0.0, 1.0), (1.0, 2.0), (2.0, f64::NAN), (3.0, 3.0), (10.0, 4.0), (11.0, 5.0)];
        let svg = chart(vec![line("a", &dots)]).svg();
        let path = svg.split("<path d=\"").nth(1).unwrap().split('"').next().unwrap();
        assert_eq!(path.matches('M').count(), 2, "{path}");
        assert_eq!(path.matches('L').count(), 2, "{path}");
        assert_eq!(svg.matches("<circle").count(), 1);
    }

    #[test]
    fn a_name_cannot_leave_its_place() {
        let svg = chart(vec![line("<script>alert(1)</script>\"&", &[(1.0, 1.0)])]).svg();
        assert!(!svg.contains("<script"));
        assert!(svg.contains("&lt;script&gt;"));
        assert!(svg.contains("a &lt;title&gt;"));
    }

    #[test]
    fn nothing_to_draw_says_so_and_every_size_holds() {
        assert!(chart(vec![]).svg().contains("no such series"));
        assert!(chart(vec![line("a", &[])]).svg().contains("no dots in this range"));
        for side in [0, 1, 120, 100_000] {
            let mut small =
                chart((0..40).map(|_| line("abcdef.ghijkl", &[(1.0, 1.0), (2.0, 2.0)])).collect());
            (small.width, small.height) = (side, side);
            let svg = small.svg();
            assert!(svg.ends_with("</svg>\n"));
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{side}");
        }
    }

    #[test]
    fn every_element_is_closed() {
        let svg = chart(vec![line("a", &[(1.0, -1e12), (2.0, 1e12)])]).svg();
        let opened = svg.matches('<').count() - svg.matches("</").count() - svg.matches("/>").count();
        assert_eq!(opened, svg.matches("</").count());
    }

    #[test]
    fn long_names_lose_their_middle() {
        assert_eq!(shorten("abcdefghij", 10), "abcdefghij");
        assert_eq!(shorten("abcdefghijk", 7), "abc…ijk");
    }
}
