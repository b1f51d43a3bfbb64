//! Colours, for a light and for a dark page. The page's style sheet has the same.

/// Which page the chart lies on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Theme {
    /// Dark ink on white.
    #[default]
    Light,
    /// Light ink on near black.
    Dark,
}

/// Neighbours differ in hue and in lightness, so that they stay apart for colour-blind eyes too.
const LINES_LIGHT: [&str; 8] =
    ["#2563eb", "#ea580c", "#0d9488", "#9333ea", "#ca8a04", "#db2777", "#65a30d", "#0891b2"];
const LINES_DARK: [&str; 8] =
    ["#60a5fa", "#fb923c", "#2dd4bf", "#c084fc", "#facc15", "#f472b6", "#a3e635", "#22d3ee"];

impl Theme {
    /// `light` or `dark`.
    pub fn parse(text: &str) -> Option<Theme> {
        match text {
            "light" => Some(Theme::Light),
            "dark" => Some(Theme::Dark),
            _ => None,
        }
    }

    pub(crate) fn line(self, index: usize) -> &'static str {
        match self {
            Theme::Light => LINES_LIGHT[index % LINES_LIGHT.len()],
            Theme::Dark => LINES_DARK[index % LINES_DARK.len()],
        }
    }

    pub(crate) fn ground(self) -> &'static str {
        self.pick("#ffffff", "#14171c")
    }

    pub(crate) fn ink(self) -> &'static str {
        self.pick("#14181f", "#e8eaee")
    }

    pub(crate) fn faint_ink(self) -> &'static str {
        self.pick("#667085", "#8b93a1")
    }

    pub(crate) fn grid(self) -> &'static str {
        self.pick("#eceef2", "#242932")
    }

    pub(crate) fn axis(self) -> &'static str {
        self.pick("#d0d5dd", "#3a414d")
    }

    fn pick(self, light: &'static str, dark: &'static str) -> &'static str {
        match self {
            Theme::Light => light,
            Theme::Dark => dark,
        }
    }
}
