//! Series to SVG.
//!
//! [`Chart::svg`] draws lines over time: value axis with SI prefixes, time axis on the clock's own divisions,
//! a legend with the last values, gaps as gaps. The SVG is complete in itself: no script, no style sheet, no
//! outside reference; text is text; every name in it is escaped.

mod chart;
mod scale;
mod theme;
mod time_axis;
mod writer;

pub use chart::{Chart, Line, SIDE_MAX, SIDE_MIN};
pub use scale::{ValueScale, si};
pub use theme::Theme;
pub use time_axis::{TimeTick, time_ticks};
